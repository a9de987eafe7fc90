"""OpenPCDet's PointRCNN: PointNet++ over points, a head over them, and one over proposals."""

import torch

from kdbench.detectors.layers import point_head, rcnn_head
from kdbench.detectors.layers.pointnet2 import PROPAGATION, SCALES
from kdbench.detectors.layers.rcnn_head import STAGES
from kdbench.detectors.pointrcnn import PointRCNN
from kdbench.errors import DataError
from kdbench.imports.checkpoint import Checkpoint
from kdbench.imports.settings import Settings
from kdbench.imports.transfer import STATISTICS, Transfer

NORM_EPS = 1e-5
BACKBONE, FIRST, SECOND = "backbone_3d", "point_head", "roi_head"
# Shared MLPs: kdbench's, theirs, and how many layers.
MLPS = [
    *(
        (f"backbone.down.{i}.scales.{k}", f"{BACKBONE}.SA_modules.{i}.mlps.{k}", len(widths))
        for i, scales in enumerate(SCALES)
        for k, (_, _, widths) in enumerate(scales)
    ),
    *(
        (f"backbone.up.{i}", f"{BACKBONE}.FP_modules.{i}.mlp", len(widths))
        for i, widths in enumerate(PROPAGATION)
    ),
]
ROI_MLPS = [
    *(
        (f"rcnn.stages.{i}.scales.0", f"{SECOND}.SA_modules.{i}.mlps.0", len(widths))
        for i, (_, _, widths) in enumerate(STAGES)
    ),
    ("rcnn.whole", f"{SECOND}.SA_modules.{len(STAGES)}.mlps.0", len(rcnn_head.WHOLE)),
]
LAYER_WIDTHS = (
    *(width for scales in SCALES for *_, widths in scales for width in widths),
    *(width for widths in PROPAGATION for width in widths),
    *point_head.HIDDEN,
    *rcnn_head.UP,
    *rcnn_head.MERGE,
    *(width for *_, widths in STAGES for width in widths),
    *rcnn_head.WHOLE,
    *rcnn_head.HIDDEN,
)
UP, MERGE = f"{SECOND}.xyz_up_layer", f"{SECOND}.merge_down_layer"
# Branches: kdbench's, theirs, and the numbers of their linear layers there; the last has no norm.
BRANCHES = [
    ("head.cls", f"{FIRST}.cls_layers", (0, 3, 6)),
    ("head.box", f"{FIRST}.box_layers", (0, 3, 6)),
    ("rcnn.cls", f"{SECOND}.cls_layers", (0, 4, 7)),  # dropout stands between
    ("rcnn.box", f"{SECOND}.reg_layers", (0, 4, 7)),
]


def point_widths(file: Checkpoint) -> list[int]:
    """The channels in place of each published width.

    Raises DataError where layers of one published width have several.
    """
    found: dict[int, set[int]] = {}
    for published, width in zip(LAYER_WIDTHS, _layer_widths(file), strict=True):
        found.setdefault(published, set()).add(width)
    for published, widths in found.items():
        if len(widths) > 1:
            raise DataError(
                f"{file.path}: its layers of a published width of {published} have several: "
                f"{', '.join(map(str, sorted(widths)))}"
            )
    return [found[published].pop() for published in PointRCNN.published_widths]


def _layer_widths(file: Checkpoint) -> list[int]:
    """The channels of all layers but the last ones, in the order of LAYER_WIDTHS."""
    mlps = [f"{name}.{3 * i}" for _, name, depth in MLPS for i in range(depth)]
    mlps += [f"{BRANCHES[0][1]}.{i}" for i in BRANCHES[0][2][:-1]]
    mlps += [f"{UP}.0", f"{UP}.2", f"{MERGE}.0"]
    mlps += [f"{name}.{3 * i}" for _, name, depth in ROI_MLPS for i in range(depth)]
    mlps += [f"{BRANCHES[2][1]}.{i}" for i in BRANCHES[2][2][:-1]]
    return [file.shape(f"{name}.weight")[0] for name in mlps]


def fill_points(t: Transfer, settings: Settings) -> None:
    """All of the network; classes in kdbench's order."""
    for own, name, depth in [*MLPS, *ROI_MLPS]:
        for i in range(0, 3 * depth, 3):
            _linear(t, f"{own}.layers.{i}", f"{name}.{i}")
            t.norm(f"{own}.layers.{i + 1}", f"{name}.{i + 1}")
    for i, name in enumerate((f"{UP}.0", f"{UP}.2")):
        _without_norm(t, f"rcnn.up.layers.{3 * i}", name)
    _without_norm(t, "rcnn.merge.layers.0", f"{MERGE}.0")
    for own, name, (*inner, last) in BRANCHES:
        for i, number in enumerate(inner):
            _linear(t, f"{own}.0.layers.{3 * i}", f"{name}.{number}")
            t.norm(f"{own}.0.layers.{3 * i + 1}", f"{name}.{number + 1}")
        _linear(t, f"{own}.1", f"{name}.{last}")
        t.put(f"{own}.1.bias", t.take(f"{name}.{last}.bias", t.wanted[f"{own}.1.bias"].shape))
    for part in ("weight", "bias"):
        t.put(f"head.cls.1.{part}", t.given[f"head.cls.1.{part}"][settings.order])


def _linear(t: Transfer, own: str, name: str) -> None:
    """A linear layer, which may be stored as a convolution of kernel 1."""
    shape = tuple(t.wanted[f"{own}.weight"].shape)
    kernel = (1,) * (len(t.file.shape(f"{name}.weight")) - len(shape))
    t.put(f"{own}.weight", t.take(f"{name}.weight", shape + kernel))


def _without_norm(t: Transfer, own: str, name: str) -> None:
    """A layer with a bias and without a norm, where kdbench has a norm: one that only adds."""
    _linear(t, own, name)
    head, _, number = own.rpartition(".")
    norm = f"{head}.{int(number) + 1}"
    bias = t.take(f"{name}.bias", t.wanted[f"{norm}.bias"].shape)
    ones = torch.ones_like(bias)
    values = (ones * (1 + NORM_EPS) ** 0.5, bias, 0 * ones, ones, torch.tensor(0))
    for part, value in zip(STATISTICS, values, strict=True):
        t.put(f"{norm}.{part}", value)
