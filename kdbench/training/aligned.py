"""A teacher of another detector, as its student's methods see it.

It prepares the cloud for itself. What it shows lies on the student's grid, so that methods know
nothing of it: maps are resampled by metres, head outputs are those of the cell that holds the
student's, boxes are encoded anew at the student's places. Where the teacher sees less than the
student, methods get the student's maps without the rest. Taps of rows have no partner: the two
detectors have no rows in common.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kdbench.dataset import Batch
from kdbench.detector import Detections, Detector, merged
from kdbench.errors import NotApplicable
from kdbench.ops.resample import Cells, bilinear, nearest
from kdbench.registry import methods
from kdbench.runs.spec import MethodSpec
from kdbench.taps import Kind, Taps, TapSpec, TapSpecs, find

HEADS = (Kind.CLS, Kind.BOX)
OWN = "_own "  # before the names of what the teacher itself needs to find boxes


@dataclass(frozen=True)
class Window:
    """Which cells of the student's maps the teacher sees too: metres from the maps' corner."""

    left: float
    low: float
    right: float
    high: float

    def cells(self, spec: TapSpec) -> tuple[slice, slice]:
        """Rows and columns of the student's map `spec`."""
        edges = [round(edge / spec.cell) for edge in (self.low, self.high, self.left, self.right)]
        return slice(*edges[:2]), slice(*edges[2:])

    def cut(self, spec: TapSpec, value: Tensor) -> Tensor:
        """A map (B, C, H, W), or a head's output (B, H, W, ...), without the rest."""
        rows, columns = self.cells(spec)
        first = 1 if spec.kind in (*HEADS, Kind.DIR) else 2
        size = rows.stop - rows.start, columns.stop - columns.start
        if size == tuple(value.shape[first : first + 2]):
            return value
        return value[(slice(None),) * first + (rows, columns)]


class Aligned(Detector):
    """A trained `network` as the teacher of a `student` of another detector.

    `taps` are those that have a partner at the student, `student_taps` are the partners as
    `of_student` shows them. Raises NotApplicable where the two see no place in common.
    """

    def __init__(self, network: Detector, student: Detector):
        super().__init__(network.kinds, network.ratio)
        self.name = network.name
        self.network = network
        self.window = _window(student, network.point_range)
        own, other = shapes(network), shapes(student)
        self._specs = student.taps
        self.pairs = {
            name: Pair(network.taps[name], own[name], spec, other[name], self.window)
            for name, spec in student.taps.items()
            if partners(network.taps.get(name), own.get(name), spec, other.get(name))
        }
        self.student_taps = {name: pair.of_student() for name, pair in self.pairs.items()}
        self.taps = {name: self._shown(name) for name in self.pairs}

    def _shown(self, name: str) -> TapSpec:
        spec = self.pairs[name].shown()
        goes_on = self.network.taps[name].apply is not None and "head.cls" in self.pairs
        return replace(spec, apply=partial(self._applied, name)) if goes_on else spec

    def of_student(self, taps: Taps) -> Taps:
        """The student's taps as methods see them: maps without what the teacher does not see."""
        maps = (Kind.BEV, Kind.COUNTS, Kind.DIR, *HEADS)
        specs = {n: spec for n, spec in self._specs.items() if spec.kind in maps and spec.cell}
        return dict(taps) | {n: self.window.cut(spec, taps[n]) for n, spec in specs.items()}

    @property
    def point_range(self) -> tuple[float, ...]:
        return self.network.point_range

    def prepare(self, batch: Batch):
        return self.network.prepare(batch)

    def forward(self, inputs) -> Taps:
        return merged(self.stages(inputs))

    def stages(self, inputs) -> Iterator[Taps]:
        for taps in self.network.stages(inputs):
            partnered = self.pairs.keys() & taps.keys()
            shown = {name: self.pairs[name].resampled(taps[name]) for name in partnered}
            yield shown | {OWN + name: value for name, value in taps.items()}

    def loss(self, taps: Taps, batch: Batch) -> dict[str, Tensor]:
        return self.network.loss(_Own(taps), batch)

    def predict(self, taps: Taps) -> list[Detections]:
        return self.network.predict(_Own(taps))

    def _applied(self, name: str, maps: Tensor) -> dict[str, Tensor]:
        """What the network's head makes of `maps` on the student's grid, on that grid."""
        outputs = self.network.taps[name].apply(self.pairs[name].returned(maps))
        parts = {part: f"head.{part}" for part in outputs}
        return {
            part: self.pairs[tap].resampled(outputs[part])
            for part, tap in parts.items()
            if tap in self.pairs
        }


class _Own(Mapping):
    """What an aligned teacher's network shows, of the taps in which it is hidden."""

    def __init__(self, taps: Taps):
        self.taps = taps

    def __getitem__(self, name: str):
        return self.taps[OWN + name]

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(OWN) for name in self.taps if name.startswith(OWN))

    def __len__(self) -> int:
        return len(list(iter(self)))


class Pair:
    """A teacher's map or head output, and the student's of the same name."""

    def __init__(self, teacher: TapSpec, own, student: TapSpec, other, window: Window):
        self.spec, self.student, self.window = teacher, student, window
        self.teacher_cells = Cells(teacher.origin, teacher.cell, *_size(teacher, own))
        self.whole = _size(student, other)  # of the student's map
        self.rows, self.columns = window.cells(student)
        x, y = student.origin
        corner = x + self.columns.start * student.cell, y + self.rows.start * student.cell
        size = self.rows.stop - self.rows.start, self.columns.stop - self.columns.start
        self.cells = Cells(corner, student.cell, *size)

    def of_student(self) -> TapSpec:
        """The student's spec of what is left of its map."""
        if (self.cells.height, self.cells.width) == self.whole:
            return self.student
        codes = self.student.decode, self.student.encode
        decode, encode = (code and partial(self._inside, code) for code in codes)
        return replace(
            self.student, origin=self.cells.origin, decode=decode, encode=encode, apply=None
        )

    def shown(self) -> TapSpec:
        """The teacher's spec on the student's grid."""
        student = self.of_student()
        codes = {"channels": student.channels} if self.spec.kind is Kind.BOX else {}
        return replace(
            self.spec, cell=student.cell, origin=student.origin, apply=None,
            decode=student.decode, encode=student.encode, **codes,
        )  # fmt: skip

    def resampled(self, value: Tensor) -> Tensor:
        """A value of the teacher's on the student's grid, in full precision."""
        value = value.float() if value.dtype.itemsize < 4 else value
        if self.spec.kind is Kind.BEV:
            return bilinear(value, self.teacher_cells, self.cells)
        if self.spec.kind is Kind.CLS:
            return nearest(value, self.teacher_cells, self.cells)
        boxes = nearest(self.spec.decode(value), self.teacher_cells, self.cells)
        return self.of_student().encode(boxes)

    def returned(self, maps: Tensor) -> Tensor:
        """Maps on the student's grid as ones on the teacher's."""
        return bilinear(maps, self.cells, self.teacher_cells)

    def _inside(self, code: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
        """Codes or boxes (B, h, w, A, n) of what is left, by a function of the whole map."""
        height, width = self.whole
        around = (self.columns.start, width - self.columns.stop)
        around += (self.rows.start, height - self.rows.stop)
        whole = F.pad(values, (0, 0, 0, 0, *around), value=1.0)  # a box of 1 m has a code
        return code(whole)[:, self.rows, self.columns]


@torch.no_grad()
def shapes(network: Detector) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's maps and head outputs for one frame."""
    boxes, labels = torch.zeros(0, 7), torch.zeros(0, dtype=torch.long)
    device = next(network.parameters()).device
    empty = Batch(["0"], torch.zeros(0, 5), [boxes], [labels]).to(device)
    was_training = network.training
    taps = network.eval()(network.prepare(empty))
    network.train(was_training)
    return {name: tuple(tap.shape) for name, tap in taps.items() if isinstance(tap, Tensor)}


def partners(teacher: TapSpec | None, own, student: TapSpec, other) -> bool:
    """Whether two taps of one name can be compared: maps, or heads with as many boxes a cell."""
    if teacher is None or teacher.kind is not student.kind or not (teacher.cell and student.cell):
        return False
    if teacher.kind not in HEADS:
        return teacher.kind is Kind.BEV
    coded = teacher.kind is Kind.CLS or bool(teacher.decode and student.encode)
    return coded and own[3] == other[3]


def check_partners(spec: MethodSpec, student: Detector, teacher: Detector) -> None:
    """Raises NotApplicable where a method cannot learn from an aligned teacher, with the reason."""
    if not isinstance(teacher, Aligned):
        return
    kind = methods.get(spec.name)
    kind = methods.get(spec.options["method"]) if kind.wraps else kind
    what = f"method {kind.name!r} is not applicable with a teacher {teacher.name!r}: "
    if kind.copies_weights:
        raise NotApplicable(what + f"it copies weights of a {student.name}")
    for pattern in kind.needs:
        for name in find(pattern, student.taps):
            if name not in teacher.taps:
                tap = f"{name} ({student.taps[name].kind}) of {student.name}"
                raise NotApplicable(what + f"{tap} has no partner there")


def _size(spec: TapSpec, shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[1:3] if spec.kind in HEADS else shape[2:]


def _window(student: Detector, seen: tuple[float, ...]) -> Window:
    """The student's cells inside of what the teacher sees, in whole cells of its coarsest map."""
    maps = [s for s in student.taps.values() if s.kind in (Kind.BEV, *HEADS) and s.cell]
    if not maps:
        raise NotApplicable(f"{student.name} shows no map, on which another detector could teach")
    coarse = max(spec.cell for spec in maps)
    near, far = [], []
    for axis in (0, 1):
        low, high = student.point_range[axis], student.point_range[axis + 3]
        near.append(math.ceil((max(seen[axis], low) - low) / coarse - 1e-6) * coarse)
        far.append(math.floor((min(seen[axis + 3], high) - low) / coarse + 1e-6) * coarse)
    if not (far[0] > near[0] and far[1] > near[1]):
        raise NotApplicable("student and teacher see no place in common (point_range)")
    return Window(*near, *far)


def as_teacher(network: Detector, student: Detector) -> Detector:
    """A network as a student's teacher: aligned, if it is another detector."""
    return network if network.name == student.name else Aligned(network, student)


def own_network(teacher: Detector) -> Detector:
    """The network that a teacher is, without what aligns it."""
    return teacher.network if isinstance(teacher, Aligned) else teacher


def inputs_of(teacher: Detector, student_inputs: Any, batch: Batch) -> Any:
    """What a teacher computes with: its student's inputs, so that rows correspond, or its own."""
    return teacher.prepare(batch) if isinstance(teacher, Aligned) else student_inputs


def seen_by_method(teacher: Detector | None, taps: Taps) -> Taps:
    """The student's taps as a method gets them."""
    return teacher.of_student(taps) if isinstance(teacher, Aligned) else taps


def shown_to_method(student: Detector, teacher: Detector | None) -> tuple[TapSpecs, TapSpecs]:
    """The specs of student and teacher that a method is built of."""
    if teacher is None:
        return student.taps, student.taps
    own = teacher.student_taps if isinstance(teacher, Aligned) else student.taps
    return own, teacher.taps
