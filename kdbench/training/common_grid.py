"""Maps and heads of two detectors on the student's grid, where both see something."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor
from torch.nn import functional as F

from kdbench.errors import NotApplicable
from kdbench.ops.resample import Cells, bilinear, nearest
from kdbench.taps import Kind, TapSpec, TapSpecs

COMPARED = (Kind.CLS, Kind.BOX)
HEADS = (*COMPARED, Kind.DIR)
MAPS = (Kind.BEV, Kind.COUNTS)


def on_grid(spec: TapSpec) -> bool:
    """Whether a tap has a value for each cell of a map."""
    return spec.kind in (*MAPS, *HEADS) and bool(spec.cell)


@dataclass(frozen=True)
class Window:
    """Which part of the student's maps the teacher sees too: metres from the maps' corner."""

    left: float
    low: float
    right: float
    high: float


def common_window(taps: TapSpecs, seen, seen_by_teacher) -> Window:
    """What is seen by both, in whole cells of the coarsest of the student's maps `taps`.

    Both ranges are x0, y0, z0, x1, y1, z1. Raises NotApplicable where there is nothing.
    """
    cells = [spec.cell for spec in taps.values() if on_grid(spec)]
    if not cells:
        raise NotApplicable("a student without maps cannot learn from another detector")
    coarse, near, far = max(cells), [], []
    for low, high, first, last in zip(
        seen[:2], seen[3:5], seen_by_teacher[:2], seen_by_teacher[3:5], strict=True
    ):
        near.append(math.ceil((max(first, low) - low) / coarse - 1e-6) * coarse)
        far.append(math.floor((min(last, high) - low) / coarse + 1e-6) * coarse)
    if not (far[0] > near[0] and far[1] > near[1]):
        raise NotApplicable("student and teacher see no place in common (point_range)")
    return Window(*near, *far)


class Cut:
    """A student's map (B, C, H, W), or head output (B, H, W, ...), as far as both see."""

    def __init__(self, spec: TapSpec, shape: tuple[int, ...], window: Window):
        self.whole = _size(spec, shape)
        edges = (window.low, window.high, window.left, window.right)
        low, high, left, right = (round(edge / spec.cell) for edge in edges)
        self.rows, self.columns = slice(low, high), slice(left, right)
        x, y = spec.origin
        corner = x + left * spec.cell, y + low * spec.cell
        self.cells = Cells(corner, spec.cell, high - low, right - left)
        self.spec = spec if self._is_whole() else self._cut(spec)

    def _is_whole(self) -> bool:
        return (self.cells.height, self.cells.width) == self.whole

    def _cut(self, spec: TapSpec) -> TapSpec:
        decode, encode = (
            code and partial(self._inside, code) for code in (spec.decode, spec.encode)
        )
        place = {"origin": self.cells.origin, "decode": decode, "encode": encode}
        return replace(spec, apply=None, asked=None, **place)

    def _inside(self, code: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        """Codes or boxes (B, h, w, A, n) of what is left, by a function of the whole map."""
        height, width = self.whole
        around = (self.columns.start, width - self.columns.stop)
        around += (self.rows.start, height - self.rows.stop)
        whole = F.pad(values, (0, 0, 0, 0, *around), value=1.0)  # a box of 1 m has a code
        return code(whole)[:, self.rows, self.columns]

    def of(self, value: Tensor) -> Tensor:
        """What is left of a value."""
        if self._is_whole():
            return value
        before = (slice(None),) * (1 if self.spec.kind in HEADS else 2)
        return value[(*before, self.rows, self.columns)]


class Pair:
    """A teacher's map or head output, and the student's of the same name."""

    def __init__(self, teacher: TapSpec, shape: tuple[int, ...], student: Cut):
        self.teacher, self.student = teacher, student
        self.cells = Cells(teacher.origin, teacher.cell, *_size(teacher, shape))

    @property
    def spec(self) -> TapSpec:
        """The teacher's spec on the student's grid."""
        own = self.student.spec
        place = {"cell": own.cell, "origin": own.origin, "decode": own.decode, "encode": own.encode}
        channels = own.channels if own.kind is Kind.BOX else self.teacher.channels
        return replace(self.teacher, channels=channels, apply=None, asked=None, **place)

    def resampled(self, value: Tensor) -> Tensor:
        """A value of the teacher's on the student's grid, in full precision."""
        value = value.float() if value.dtype.itemsize < 4 else value
        grids = self.cells, self.student.cells
        if self.teacher.kind is Kind.BEV:
            return bilinear(value, *grids)
        if self.teacher.kind is Kind.CLS:
            return nearest(value, *grids)
        return self.student.spec.encode(nearest(self.teacher.decode(value), *grids))

    def returned(self, maps: Tensor) -> Tensor:
        """Maps on the student's grid as ones on the teacher's."""
        return bilinear(maps, self.student.cells, self.cells)


def are_partners(teacher: TapSpec | None, shape, student: TapSpec, other) -> bool:
    """Whether two taps of one name can be compared: maps, or heads with as many boxes a cell.

    `shape` and `other` are the shapes of their values.
    """
    if teacher is None or teacher.kind is not student.kind or not teacher.cell:
        return False
    if teacher.kind not in COMPARED:
        return teacher.kind is Kind.BEV
    coded = teacher.kind is Kind.CLS or bool(teacher.decode and student.encode)
    return coded and shape[3] == other[3]


def _size(spec: TapSpec, shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns."""
    return shape[1:3] if spec.kind in HEADS else shape[2:]
