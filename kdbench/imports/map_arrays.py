"""Arrays of networks over a map, from voxels to the neck, as their projects lay them out."""

import copy
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from kdbench.dataset import Batch
from kdbench.detector import Detector
from kdbench.detectors.layers.pillar_map import PillarInputs
from kdbench.detectors.layers.voxel_map import VoxelMap
from kdbench.imports.compare import View
from kdbench.ops.voxelise import voxelise
from kdbench.taps import Taps


def batch_of(points: np.ndarray) -> Batch:
    """Points (n, 4) as a batch of one frame without labels."""
    cloud = torch.from_numpy(np.array(points, np.float32))
    frame = torch.zeros(len(cloud), 1)
    return Batch(["case"], torch.cat([frame, cloud], 1), [torch.zeros(0, 7)], [frame[:0, 0].long()])


def map_arrays(network: Detector, batch: Batch) -> tuple[dict[str, View], Taps]:
    """Voxels, the map that enters the backbone, its stages and the neck; and all taps."""
    inputs = network.prepare(batch)
    if isinstance(inputs, PillarInputs):  # the network may be one of float64
        dtype = next(network.parameters()).dtype
        inputs = replace(inputs, features=inputs.features.to(dtype))
    with _entering(network.backbone) as maps:
        taps = network(inputs)
    bev = maps[0][0]
    found = (
        _voxels(network.encoder, batch)
        if isinstance(network.encoder, VoxelMap)
        else _pillars(network, inputs, taps)
    )
    if isinstance(network.encoder, VoxelMap):  # there channel * depth + z
        bev = bev.unflatten(0, (network.encoder.depth, -1)).transpose(0, 1).flatten(0, 1)
    stages = {f"stage{i}": taps[f"backbone.{i}"][0] for i in range(len(network.backbone.stages))}
    maps = {"bev": bev, **stages, "neck": taps["neck"][0]}
    return found | {name: View(x.numpy(), rows=1) for name, x in maps.items()}, taps


@contextmanager
def _entering(module: torch.nn.Module):
    """A list of what enters a module."""
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()


def _pillars(network: Detector, inputs: PillarInputs, taps: Taps) -> dict[str, View]:
    rows = taps["voxel"]
    place = rows.coordinates[:, 1:]
    parts = {
        "voxel_coords": torch.cat([torch.zeros_like(place[:, :1]), place], dim=1),
        "voxel_counts": rows.counts,
        "voxel_features": rows.features,
        "voxel_features_unpadded": _unpadded(network, inputs),
    }
    return {name: View(x.numpy()) for name, x in parts.items()}


def _unpadded(network: Detector, inputs: PillarInputs) -> Tensor:
    """What the encoder makes of pillars that are not filled up."""
    encoder = copy.copy(getattr(network.encoder, "encoder", network.encoder))
    encoder.padding = 0
    return encoder(inputs.features, inputs.pillars.counts)


def _voxels(encoder: VoxelMap, batch: Batch) -> dict[str, View]:
    voxels = voxelise(batch.points, encoder.grid, 1, encoder.most)
    return {
        "voxel_coords": View(voxels.coordinates[:, 1:].numpy()),
        "voxel_counts": View(voxels.counts.numpy()),
        "voxel_features": View(voxels.features.numpy()),
    }
