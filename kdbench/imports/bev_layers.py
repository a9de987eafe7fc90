"""Layers over a map as OpenPCDet and mmdetection3d name them: pillars, backbone, neck, anchors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.detectors.layers.row_norm import EPS
from kdbench.errors import DataError
from kdbench.imports.checkpoint import Checkpoint
from kdbench.imports.settings import Settings
from kdbench.imports.transfer import STATISTICS, Transfer

POINT_VALUES = 10  # x, y, z, reflectance, offsets to the mean (3) and to the pillar's centre (3)


@dataclass(frozen=True)
class Names:
    """How a project names the parts of these networks."""

    pillars: str
    blocks: str
    first: int  # number of the first convolution within a stage: padding may stand before it
    neck: str
    head: str
    box: str

    def conv(self, stage: int, layer: int) -> str:
        """A convolution of the backbone."""
        return f"{self.blocks}.{stage}.{self.first + 3 * layer}"

    def norm(self, stage: int, layer: int) -> str:
        """The batch norm after it."""
        return f"{self.blocks}.{stage}.{self.first + 3 * layer + 1}"


NAMES = {
    "openpcdet": Names(
        "vfe.pfn_layers", "backbone_2d.blocks", 1, "backbone_2d.deblocks", "dense_head", "conv_box"
    ),
    "mmdet3d": Names(
        "voxel_encoder.pfn_layers", "backbone.blocks", 0, "neck.deblocks", "bbox_head", "conv_reg"
    ),
}


def pillar_width(file: Checkpoint, names: Names) -> int:
    """The channels of the pillar encoder. Raises DataError for pillars of other data sets."""
    if any(key.startswith(f"{names.pillars}.1.") for key in file.tensors):
        raise DataError(
            f"{file.path}: its pillars have two layers, as for Waymo and nuScenes; only one, as "
            "for KITTI, can be imported"
        )
    width, values = file.shape(f"{names.pillars}.0.linear.weight")
    if values != POINT_VALUES:
        raise DataError(
            f"{file.path}: its pillars have {values} values a point, as for other sensors (Waymo, "
            f"nuScenes); only {POINT_VALUES}, of x, y, z and reflectance, can be imported"
        )
    return width


def map_widths(file: Checkpoint, names: Names, stages: int) -> list[int]:
    """The channels of the backbone's stages and of the neck's branches."""
    widths = [file.shape(f"{names.conv(i, 0)}.weight")[0] for i in range(stages)]
    return widths + [file.shape(f"{names.neck}.{i}.0.weight")[1] for i in range(stages)]


def fill_pillars(t: Transfer, names: Names, own: str, settings: Settings) -> None:
    """Ten values a point folded into nine: a pillar's centre in z is the same for all of them.

    The function is the same. Legacy pillars of mmdetection3d have offsets to the centre in place
    of x, y and z; they are what the last three columns multiply too.
    """
    name = f"{names.pillars}.0"
    t.norm(f"{own}.norm", f"{name}.norm")
    width = len(t.wanted[f"{own}.linear.weight"])
    w = t.take(f"{name}.linear.weight", (width, POINT_VALUES)).double()
    low, high = (settings.options["point_range"][i] for i in (2, 5))
    scale, shift, mean, var = (t.given[f"{own}.norm.{part}"].double() for part in STATISTICS[:4])
    eps = settings.options.get("norm_eps", EPS)
    if f"{own}.floor" in t.wanted:  # what a row of zeros becomes
        t.put(f"{own}.floor", shift - mean * scale / (var + eps).sqrt())
    zeros = torch.zeros_like(w[:, 0])
    of_z = w[:, 2] + w[:, 9]
    x, y, to_x, to_y, over_centre = (
        (zeros, zeros, w[:, 0] + w[:, 7], w[:, 1] + w[:, 8], of_z)
        if settings.legacy
        else (w[:, 0], w[:, 1], w[:, 7], w[:, 8], w[:, 9])
    )
    columns = [x, y, of_z, *w[:, 3:7].unbind(1), to_x, to_y]
    t.put(f"{own}.linear.weight", torch.stack(columns, dim=1))
    t.put(f"{own}.norm.running_mean", mean + (low + high) / 2 * over_centre)


def fill_map(t: Transfer, names: Names, depths, cells: int = 1) -> None:
    """Backbone and neck, over a map whose channels are those of `cells` along z.

    Its channels are channel * cells + z there, z * channels + channel in kdbench.
    """
    for i, depth in enumerate(depths):
        for k in range(1 + depth):
            own, name = f"backbone.stages.{i}.{k}.0.weight", f"{names.conv(i, k)}.weight"
            weight = t.take(name, t.wanted[own].shape)
            if i == k == 0:
                weight = weight.unflatten(1, (-1, cells)).transpose(1, 2).flatten(1, 2)
            t.put(own, weight)
            t.norm(f"backbone.stages.{i}.{k}.1", names.norm(i, k))
        t.copy(f"neck.branches.{i}.0.weight", f"{names.neck}.{i}.0.weight")
        t.norm(f"neck.branches.{i}.1", f"{names.neck}.{i}.1")


def fill_anchor_head(t: Transfer, names: Names, settings: Settings) -> None:
    """Three convolutions as one; classes, and their anchors, in kdbench's order."""
    order, classes = settings.order, len(settings.classes)
    inputs = t.wanted["head.outputs.weight"].shape[1]
    parts = {"conv_cls": classes, names.box: 7, "conv_dir_cls": 2}
    for part, tail in (("weight", (inputs, 1, 1)), ("bias", ())):
        joined = []
        for layer, values in parts.items():
            shape = (classes * 2 * values, *tail)
            x = t.take(f"{names.head}.{layer}.{part}", shape)
            x = x.unflatten(0, (classes, 2, values))[order]  # anchors: class, then heading
            joined.append((x[:, :, order] if layer == "conv_cls" else x).flatten(0, 2))
        t.put(f"head.outputs.{part}", torch.cat(joined))


def file_anchors(values: Tensor, order: list[int]) -> Tensor:
    """Values (..., anchors, n) of a head in kdbench's order of classes, in the file's."""
    back = torch.tensor(order).argsort()
    return values.unflatten(-2, (len(order), 2))[..., back, :, :].flatten(-3, -2)
