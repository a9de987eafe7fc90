"""Anchors, their matching to ground truth, and the box code (SECOND, PointPillars)."""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from kdbench.classes import KITTI, Classes, ObjectClass, described
from kdbench.errors import UsageError
from kdbench.geometry.boxes import wrap_angle
from kdbench.registry.suggest import unknown

IGNORED, BACKGROUND = -2, -1


@dataclass(frozen=True)
class AnchorClass:
    """The anchors of one class: one size, two headings."""

    size: tuple[float, float, float]  # length, width, height in metres
    bottom: float  # z of the bottom face in the LiDAR frame, metres
    matched: float  # IoU from which an anchor is positive
    unmatched: float  # IoU below which it is background; between the two it is ignored


def anchor_class(kind: ObjectClass) -> AnchorClass:
    """The anchors of a class. Raises UsageError for one without a size.

    Of KITTI's classes they are the published ones. As there, what is a match to the evaluation is
    positive, or from 0.6 on; below 0.15 less, but not below half of it, is background.
    """
    if kind.size is None or kind.bottom is None:
        raise UsageError(f"class {kind.name!r} has no size and bottom, which anchors need")
    matched = min(kind.overlap, 0.6)
    return AnchorClass(kind.size, kind.bottom, matched, round(max(matched - 0.15, matched / 2), 3))


KITTI_ANCHORS = {kind.name: anchor_class(kind) for kind in KITTI}
HEADINGS = (0.0, math.pi / 2)
FIRST_BIN = (
    -math.pi / 4
)  # away from the two headings most objects have, along and across the street
LARGEST = 4.0  # log of a size over the anchor's


@dataclass(frozen=True)
class AnchorForm:
    """How anchors are laid out, and what a head's codes and directions mean at them.

    The defaults are kdbench's. Networks trained elsewhere come with their own.
    """

    sizes: tuple = ()  # of each class length, width, height in metres; empty: the class's own
    bottoms: tuple = ()  # of each class z of the bottom face, metres; empty: the class's own
    headings: tuple = HEADINGS  # radians
    at: str = "centres"  # of the map's cells; or "ends": evenly from end to end of the range
    first_bin: float = FIRST_BIN  # radians: where the half-turn of direction 0 begins
    clamped: bool = True  # no decoded size exceeds e^4 times the anchor's

    def __post_init__(self):
        if self.at not in ("centres", "ends") or len(self.headings) != len(HEADINGS):
            raise UsageError("anchors: `at` must be centres or ends, and there must be 2 headings")

    @property
    def largest(self) -> float:
        """The greatest logarithm of a size that `decode` takes as it is."""
        return LARGEST if self.clamped else math.inf


OWN_FORM = AnchorForm()


def anchor_form(values: dict) -> AnchorForm:
    """The form with these values. Raises UsageError for a name that it does not have."""
    known = [f.name for f in fields(AnchorForm)]
    for name in values:
        if name not in known:
            raise UsageError(unknown("value of option anchors", name, known))
    return AnchorForm(**values)


def make_anchors(
    classes: Classes, point_range, height: int, width: int, form: AnchorForm = OWN_FORM
) -> Tensor:
    """Anchor boxes (height, width, len(classes) * 2, 7) over the cells of the map.

    Raises UsageError for a class that is not known, and for a form of other classes.
    """
    x0, y0, _, x1, y1, _ = point_range
    x, y = _places(x0, x1, width, form.at), _places(y0, y1, height, form.at)
    anchors = torch.zeros(height, width, len(classes), len(HEADINGS), 7)
    anchors[..., 0] = x.view(1, -1, 1, 1)
    anchors[..., 1] = y.view(-1, 1, 1, 1)
    for i, (size, bottom) in enumerate(shapes(classes, form)):
        anchors[:, :, i, :, 2] = bottom + size[2] / 2
        anchors[:, :, i, :, 3:6] = torch.tensor(size)
    anchors[..., 6] = torch.tensor(form.headings)
    return anchors.flatten(2, 3)


def _places(low: float, high: float, cells: int, at: str) -> Tensor:
    """Where anchors stand along an axis (cells,)."""
    if at == "ends":
        return torch.linspace(low, high, cells)
    return low + (torch.arange(cells, dtype=torch.float32) + 0.5) * ((high - low) / cells)


def shapes(classes: Classes, form: AnchorForm) -> list[tuple[tuple, float]]:
    """Size and bottom of the anchors of each class."""
    kinds = [anchor_class(kind) for kind in described(classes)]
    sizes = form.sizes or [kind.size for kind in kinds]
    bottoms = form.bottoms or [kind.bottom for kind in kinds]
    if not len(sizes) == len(bottoms) == len(classes):
        raise UsageError(f"anchors: {len(classes)} classes need as many sizes and bottoms")
    return list(zip(sizes, bottoms, strict=True))


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Boxes (..., 7) as offsets to anchors (..., 7); SECOND, equation 2."""
    diagonal = torch.hypot(anchors[..., 3], anchors[..., 4])
    return torch.stack(
        [
            (boxes[..., 0] - anchors[..., 0]) / diagonal,
            (boxes[..., 1] - anchors[..., 1]) / diagonal,
            (boxes[..., 2] - anchors[..., 2]) / anchors[..., 5],
            torch.log(boxes[..., 3] / anchors[..., 3]),
            torch.log(boxes[..., 4] / anchors[..., 4]),
            torch.log(boxes[..., 5] / anchors[..., 5]),
            boxes[..., 6] - anchors[..., 6],
        ],
        dim=-1,
    )


def decode(codes: Tensor, anchors: Tensor, largest: float = LARGEST) -> Tensor:
    """The inverse of `encode`; no size exceeds e^largest times the anchor's, however wild."""
    diagonal = torch.hypot(anchors[..., 3], anchors[..., 4])
    size = torch.exp(codes[..., 3:6].clamp(max=largest)) * anchors[..., 3:6]
    return torch.stack(
        [
            codes[..., 0] * diagonal + anchors[..., 0],
            codes[..., 1] * diagonal + anchors[..., 1],
            codes[..., 2] * anchors[..., 5] + anchors[..., 2],
            *size.unbind(-1),
            codes[..., 6] + anchors[..., 6],
        ],
        dim=-1,
    )


def heading_bin(yaw: Tensor, first: float = FIRST_BIN) -> Tensor:
    """Which half-turn a heading points to: 0 from `first` on, 1 from `first` + pi on."""
    return (wrap_angle(yaw - first) < 0).long()


def set_heading(yaw: Tensor, half: Tensor, first: float = FIRST_BIN) -> Tensor:
    """`yaw`, turned by pi where its half-turn is not `half`; in [-pi, pi)."""
    return wrap_angle(yaw + math.pi * (heading_bin(yaw, first) != half))


def match(iou: Tensor, matched: float, unmatched: float) -> Tensor:
    """For each anchor the index of its box, by their IoU (n, ..., m): (n, ...).

    BACKGROUND or IGNORED where it has none. Positive are the anchors whose IoU with a box reaches
    `matched`, and each box's best anchors in any case; each goes to the box it overlaps most.
    Below `unmatched` is background. Never waits for a device.
    """
    if iou.shape[-1] == 0:
        return torch.full(iou.shape[:-1], BACKGROUND, dtype=torch.long, device=iou.device)
    best, index = iou.max(dim=-1)
    top = iou.amax(dim=0)
    is_top = (iou == top.where(top > 0, math.inf)).any(dim=-1)
    missed = torch.where(best >= unmatched, IGNORED, BACKGROUND)
    return torch.where(is_top | (best >= matched), index, missed)
