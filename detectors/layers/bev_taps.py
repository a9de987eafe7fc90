"""The taps of a BEV backbone and its neck: what they are, and their values."""

from collections.abc import Iterator
from itertools import accumulate
from operator import mul

from torch import Tensor, nn

from kdbench.detectors.layers.bev_backbone import BevBackbone
from kdbench.taps import Kind, Taps, TapSpec


def bev_tap_specs(backbone: BevBackbone, strides, cell: float, corner) -> dict[str, TapSpec]:
    """`backbone.i` and `preact.i` of stages with `strides`, over a map with this `cell`."""
    norms = backbone.last_norms()
    cells = [cell * factor for factor in accumulate(strides, mul)]
    specs = {
        f"backbone.{i}": TapSpec(Kind.BEV, norm.num_features, size, corner)
        for i, (norm, size) in enumerate(zip(norms, cells, strict=True))
    }
    for i, (norm, size) in enumerate(zip(norms, cells, strict=True)):
        affine = (norm.weight, norm.bias)
        specs[f"preact.{i}"] = TapSpec(Kind.BEV, norm.num_features, size, corner, affine=affine)
    return specs


def dense_taps(backbone: BevBackbone, neck: nn.Module, head: nn.Module, x: Tensor) -> Taps:
    """All taps from a map (B, C, H, W) on: those of the backbone, `neck` and `head.*`."""
    maps, preacts = backbone(x)
    joined = neck(maps)
    heads = {f"head.{name}": y for name, y in head(joined).items()}
    stages = {f"backbone.{i}": y for i, y in enumerate(maps)}
    return stages | {f"preact.{i}": y for i, y in enumerate(preacts)} | {"neck": joined} | heads


def dense_stages(
    backbone: BevBackbone, neck: nn.Module, head: nn.Module, x: Tensor
) -> Iterator[Taps]:
    """The same taps stage by stage: those of the backbone, `neck` and `head.*`."""
    maps = []
    for i, (after, before) in enumerate(backbone.each(x)):
        maps.append(after)
        yield {f"backbone.{i}": after, f"preact.{i}": before}
    joined = neck(maps)
    yield {"neck": joined}
    yield {f"head.{name}": y for name, y in head(joined).items()}
