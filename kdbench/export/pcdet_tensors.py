"""The tensors of a detector by OpenPCDet's names: the inverse of what `imports` reads.

Networks whose norms OpenPCDet has with another epsilon, or not at all, are the same function in
other numbers.
"""

import torch
from torch import Tensor

from kdbench.detector import Detector
from kdbench.detectors import pointpillars, second
from kdbench.detectors.centerpoint import FORMS
from kdbench.export.pcdet_pillars import pillar_layer
from kdbench.imports import center_layers as center
from kdbench.imports import point_layers as point
from kdbench.imports import sparse_layers as sparse
from kdbench.imports.bev_layers import NAMES
from kdbench.imports.transfer import STATISTICS

BEV = NAMES["openpcdet"]


class Outward:
    """Tensors on their way from a detector into a file."""

    def __init__(self, detector: Detector):
        self.detector = detector
        self.own = detector.state_dict()
        self.given: dict[str, Tensor] = {"global_step": torch.zeros(1, dtype=torch.int64)}

    def put(self, name: str, value: Tensor) -> None:
        """Sets a tensor of the file."""
        self.given[name] = value.detach().clone(memory_format=torch.contiguous_format)

    def copy(self, name: str, own: str) -> None:
        """A tensor as it is."""
        self.put(name, self.own[own])

    def norm(self, name: str, own: str, more: float = 0.0) -> None:
        """All of a batch norm; `more` is how much greater its epsilon is than that of the file."""
        for part in STATISTICS:
            self.copy(f"{name}.{part}", f"{own}.{part}")
        if more:
            var = self.own[f"{own}.running_var"].double() + more
            self.put(f"{name}.running_var", var.float())


def tensors(detector: Detector) -> dict[str, Tensor]:
    """All tensors of a detector's file. Raises UsageError where OpenPCDet has nothing like it."""
    out = Outward(detector)
    WRITERS[detector.name](out)
    return out.given


def _pointpillars(out: Outward) -> None:
    detector = out.detector
    _pillars(out, "encoder", detector.encoder, detector.max_points)
    _map(out, pointpillars.DEPTHS)
    _anchor_head(out)


def _second(out: Outward) -> None:
    for i, block in enumerate(sparse.BLOCKS["openpcdet"]):
        own = f"encoder.encoder.blocks.{i}"
        out.copy(f"{block}.0.weight", f"{own}.conv.weight")
        out.norm(f"{block}.1", f"{own}.norm")
    _map(out, second.DEPTHS, cells=2)
    _anchor_head(out)


def _centerpoint(out: Outward) -> None:
    pillars = out.detector.encoder
    _pillars(out, "encoder.encoder", pillars.encoder, pillars.most)
    _map(out, FORMS["pillar"].depths)
    _center_block(out, center.SHARED, "head.shared")
    for own, name in center.NAMES.items():
        theirs = f"{center.BRANCHES}.{name}"
        _center_block(out, f"{theirs}.0", f"head.branches.{own}.0")
        order = [1, 0] if own == "heading" else slice(None)  # cosine, sine there
        for part in ("weight", "bias"):
            out.put(f"{theirs}.1.{part}", out.own[f"head.branches.{own}.1.{part}"][order])


def _center_block(out: Outward, name: str, own: str) -> None:
    norm = out.detector.get_submodule(f"{own}.1")
    out.copy(f"{name}.0.weight", f"{own}.0.weight")
    out.norm(f"{name}.1", f"{own}.1", norm.eps - center.NORM_EPS)


def _pillars(out: Outward, own: str, encoder, most: int) -> None:
    low, high = (out.detector.point_range[i] for i in (2, 5))
    name = f"{BEV.pillars}.0"
    out.norm(f"{name}.norm", f"{own}.norm")
    weight, mean = pillar_layer(encoder, most > 0, (low + high) / 2)
    out.put(f"{name}.linear.weight", weight)
    out.put(f"{name}.norm.running_mean", mean)


def _map(out: Outward, depths, cells: int = 1) -> None:
    """Backbone and neck; see `bev_layers.fill_map`."""
    for i, depth in enumerate(depths):
        for k in range(1 + depth):
            weight = out.own[f"backbone.stages.{i}.{k}.0.weight"]
            if i == k == 0:
                weight = weight.unflatten(1, (cells, -1)).transpose(1, 2).flatten(1, 2)
            out.put(f"{BEV.conv(i, k)}.weight", weight)
            out.norm(BEV.norm(i, k), f"backbone.stages.{i}.{k}.1")
        out.copy(f"{BEV.neck}.{i}.0.weight", f"neck.branches.{i}.0.weight")
        out.norm(f"{BEV.neck}.{i}.1", f"neck.branches.{i}.1")


def _anchor_head(out: Outward) -> None:
    layers = ("conv_cls", BEV.box, "conv_dir_cls")
    for part in ("weight", "bias"):
        joined = out.own[f"head.outputs.{part}"].split(out.detector.head.channels)
        for layer, value in zip(layers, joined, strict=True):
            out.put(f"{BEV.head}.{layer}.{part}", value)


def _pointrcnn(out: Outward) -> None:
    for own, name, depth in [*point.MLPS, *point.ROI_MLPS]:
        for i in range(0, 3 * depth, 3):
            out.put(f"{name}.{i}.weight", _kernel(out.own[f"{own}.layers.{i}.weight"], 2))
            out.norm(f"{name}.{i + 1}", f"{own}.layers.{i + 1}")
    for i, name in enumerate((f"{point.UP}.0", f"{point.UP}.2")):
        _without_norm(out, name, f"rcnn.up.layers.{3 * i}")
    _without_norm(out, f"{point.MERGE}.0", "rcnn.merge.layers.0")
    for own, name, (*inner, last) in point.BRANCHES:
        dimensions = 1 if name.startswith(point.SECOND) else 0
        for i, number in enumerate(inner):
            weight = out.own[f"{own}.0.layers.{3 * i}.weight"]
            out.put(f"{name}.{number}.weight", _kernel(weight, dimensions))
            out.norm(f"{name}.{number + 1}", f"{own}.0.layers.{3 * i + 1}")
        out.put(f"{name}.{last}.weight", _kernel(out.own[f"{own}.1.weight"], dimensions))
        out.copy(f"{name}.{last}.bias", f"{own}.1.bias")


def _kernel(weight: Tensor, dimensions: int) -> Tensor:
    """A linear layer as a convolution of kernel 1."""
    return weight.reshape(*weight.shape, *(1,) * dimensions)


def _without_norm(out: Outward, name: str, own: str) -> None:
    """A layer and its norm as one with a bias, where OpenPCDet has no norm."""
    head, _, number = own.rpartition(".")
    norm = out.detector.get_submodule(f"{head}.{int(number) + 1}")
    values = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    scale, shift, mean, var = (x.detach().double() for x in values)
    factor = (scale / (var + norm.eps).sqrt()).float()  # 1 of a network from there
    weight = out.own[f"{own}.weight"] * factor.unsqueeze(1)
    out.put(f"{name}.weight", _kernel(weight, 2))
    out.put(f"{name}.bias", (shift - mean * factor.double()).float())


WRITERS = {
    "pointpillars": _pointpillars,
    "second": _second,
    "centerpoint": _centerpoint,
    "pointrcnn": _pointrcnn,
}
