"""The taps of a BEV backbone and its neck: what they are, and their values."""

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
    return bev_taps(maps, preacts) | {"neck": joined} | heads


def bev_taps(maps: list[Tensor], preacts: list[Tensor]) -> Taps:
    """The taps of what the backbone returns."""
    return {f"backbone.{i}": x for i, x in enumerate(maps)} | {
        f"preact.{i}": x for i, x in enumerate(preacts)
    }
