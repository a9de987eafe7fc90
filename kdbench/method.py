"""The contract of a knowledge-distillation method.

A method is an `nn.Module` in one file. It is built from what student and teacher show
(`TapSpecs`), makes its own adapters, and returns weighted loss terms for a batch. Its
parameters train with the student, are counted apart, and are never saved with the student.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from kdbench.dataset import Batch
from kdbench.taps import Taps, TapSpecs


@dataclass(frozen=True)
class Paper:
    """Where a method comes from."""

    title: str
    year: int
    identifier: str  # arXiv number, venue or DOI


class Method(nn.Module):
    """Base of all methods. The keyword arguments of `__init__` are the method's options."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()  # tap patterns, see `taps.find`
    # Patterns of what the teacher must show, where that is something else than `needs`.
    teacher_needs: ClassVar[tuple[str, ...]] = ()
    paper: ClassVar[Paper | None] = None
    variants: ClassVar[tuple[str, ...]] = ()  # values of the option `variant`, default first
    deviations: ClassVar[tuple[str, ...]] = ()  # what differs from the paper, and why
    # Options that came after results were published -> the value at which nothing is new.
    neutral: ClassVar[dict[str, Any]] = {}
    limits: ClassVar[dict[str, tuple[float, float]]] = {}  # of options: smallest, largest value
    # Which teacher it learns from: "trained"; "self": the same student, trained without
    # distillation; "random": the full-width network, untrained; "ema": a copy of the student,
    # which the method keeps up in `after_step`; or "none".
    teacher: ClassVar[str] = "trained"
    # Its options `method` and `options` name another method.
    wraps: ClassVar[bool] = False
    # False for a method that teaches through its hooks alone, or not at all: only such a one may
    # return no loss term.
    teaches_by_loss: ClassVar[bool] = True
    # Whether the student starts from the teacher's weights: so it must be the same network, wider.
    same_detector: ClassVar[bool] = False
    # Steps of a stage of its own, before its student's training; 0: it has none.
    stage_steps: int = 0
    zero_when_equal: ClassVar[bool] = False  # loss is 0 when student, teacher and adapters agree

    def __init__(self, student: TapSpecs, teacher: TapSpecs):
        super().__init__()
        self.student_specs, self.teacher_specs = student, teacher
        self.logs: dict[str, Tensor] = {}  # scalars for the log that are no loss

    def forward(self, student: Taps, teacher: Taps, batch: Batch) -> dict[str, Tensor]:
        """Weighted loss terms by name, scalars, to be added to the detection loss."""
        raise NotImplementedError

    def stage_modules(self) -> list[nn.Module]:
        """What learns in the stage before the training, and is frozen afterwards."""
        return []

    def stage_loss(self, teacher: nn.Module, taps: Taps, batch: Batch) -> dict[str, Tensor]:
        """Loss terms of that stage by name, scalars; `taps` are the teacher's."""
        raise NotImplementedError

    def freeze_stage(self) -> None:
        """Lets what learned in the stage be as it is."""
        for module in self.stage_modules():
            module.requires_grad_(False).eval()

    def share_adapters(self) -> None:
        """Makes the student's and the teacher's adapters the same, for `kdbench check`.

        Only methods that adapt both sides and set `zero_when_equal` need it.
        """

    def prepare_student(self, student: nn.Module, teacher: nn.Module) -> None:
        """Hook: changes the student's initial weights (teacher-guided initialisation).

        Called once, before training.
        """

    def relabel(self, batch: Batch, teacher: nn.Module, taps: Taps) -> Batch:
        """Hook: changes a batch's labels before the student's loss (label distillation)."""
        return batch

    def after_step(self, student: nn.Module, teacher: nn.Module, step: int, steps: int) -> None:
        """Hook: called when `step` of `steps` optimiser steps are done (moving averages, ramps).

        `teacher` is None for a method without one. What a method remembers between steps it keeps
        in buffers: those are saved and come back when a training is resumed.
        """
