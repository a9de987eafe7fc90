"""A teacher of another detector, as its student's methods see it.

It prepares the cloud for itself. What it shows lies on the student's grid, so that methods know
nothing of it: maps are resampled by metres, head outputs are those of the cell that holds the
student's, boxes are encoded anew at the student's places. Where the teacher sees less than the
student, methods get the student's maps without the rest. Rows have no partner: the two detectors
have none in common.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from kdbench.dataset import Batch
from kdbench.detector import Detections, Detector, merged
from kdbench.errors import NotApplicable
from kdbench.registry import methods
from kdbench.runs.spec import MethodSpec
from kdbench.taps import Kind, Taps, TapSpec, TapSpecs, find, missing
from kdbench.training.common_grid import Cut, Pair, are_partners, common_window, on_grid

ON_NO_GRID = (Kind.JUDGE,)  # taps that need no partner
OWN = "_own "  # before the names of what the teacher itself needs to find boxes


class Aligned(Detector):
    """A trained `network` as the teacher of a `student` of another detector.

    `taps` are those that have a partner at the student, and those that need none; `student_taps`
    are the student's as `of_student` shows them. Raises NotApplicable where the two see no place
    in common.
    """

    def __init__(self, network: Detector, student: Detector):
        super().__init__(network.kinds, network.ratio)
        self.name = network.name
        self.network = network
        window = common_window(student.taps, student.point_range, network.point_range)
        own, other = shapes(network), shapes(student)
        maps = {name: spec for name, spec in student.taps.items() if on_grid(spec)}
        self.cuts = {name: Cut(spec, other[name], window) for name, spec in maps.items()}
        self.pairs = {
            name: Pair(network.taps[name], own[name], self.cuts[name])
            for name, spec in maps.items()
            if are_partners(network.taps.get(name), own.get(name), spec, other[name])
        }
        free = {name: spec for name, spec in network.taps.items() if spec.kind in ON_NO_GRID}
        self.taps = {name: self._shown(name) for name in self.pairs} | free
        self.student_taps = student.taps | {name: cut.spec for name, cut in self.cuts.items()}

    def _shown(self, name: str) -> TapSpec:
        spec = self.pairs[name].spec
        goes_on = self.network.taps[name].apply is not None and "head.cls" in self.pairs
        return replace(spec, apply=partial(self._applied, name)) if goes_on else spec

    def of_student(self, taps: Taps) -> Taps:
        """The student's taps as methods see them: maps without what the teacher does not see."""
        return dict(taps) | {name: cut.of(taps[name]) for name, cut in self.cuts.items()}

    @property
    def point_range(self) -> tuple[float, ...]:
        return self.network.point_range

    def prepare(self, batch: Batch):
        return self.network.prepare(batch)

    def forward(self, inputs) -> Taps:
        return merged(self.stages(inputs))

    def stages(self, inputs) -> Iterator[Taps]:
        for taps in self.network.stages(inputs):
            shown = {name: value for name, value in taps.items() if name in self.taps}
            shown |= {n: self.pairs[n].resampled(taps[n]) for n in self.pairs.keys() & taps.keys()}
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


def check_teacher(spec: MethodSpec, student: Detector, teacher: Detector) -> None:
    """Raises NotApplicable where a method cannot learn from a teacher, with the reason."""
    kind = methods.get(spec.name)
    kind = methods.get(spec.options["method"]) if kind.wraps else kind
    what = f"method {kind.name!r} is not applicable with a teacher {teacher.name!r}: "
    if absent := missing(kind.teacher_needs, teacher.taps):
        raise NotApplicable(what + f"it shows no {', '.join(absent)} (--teacher-detector)")
    if not isinstance(teacher, Aligned):
        return
    if kind.same_detector:
        raise NotApplicable(what + f"it copies weights of a {student.name}")
    for pattern in () if kind.teacher_needs else kind.needs:
        for name in find(pattern, student.taps):
            if name not in teacher.taps:
                tap = f"{name} ({student.taps[name].kind}) of {student.name}"
                raise NotApplicable(what + f"{tap} has no partner there")


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
