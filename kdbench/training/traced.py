"""A training that writes down, at eight moments, how distillation pulls at the student."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from kdbench.runs.moments import moments
from kdbench.runs.store import Log
from kdbench.training.checkpoint import State
from kdbench.training.loop import Training, numbers
from kdbench.training.pull import Pull, pulls, together


@dataclass
class Traced(Training):
    """Ends with the same weights as a training that is not traced."""

    _now: int = field(default=0, init=False, repr=False)

    def run(self) -> dict:
        """What `Training.run` returns, and `trace`: a list of what `traced` gives."""
        cost = super().run()
        return cost | {"trace": self._log.read()}

    def step(self, state: State, batch) -> dict[str, float]:
        self._now = state.step
        return super().step(state, batch)

    def scale(self, detection: dict[str, Tensor], distillation: dict[str, Tensor]) -> float:
        factor = super().scale(detection, distillation)
        if self._now in moments(self.spec.train.steps) and distillation:
            own = {name: factor * term for name, term in distillation.items()}
            self._log.write(step=self._now, **traced(detection, own, self.student))
        return factor

    def _resume(self, state: State) -> None:
        super()._resume(state)
        self._log.truncate_after(state.step - 1)

    @property
    def _log(self) -> Log:
        return Log(Path(self.folder) / "trace.jsonl")


def traced(detection: dict[str, Tensor], distillation: dict[str, Tensor], student) -> dict:
    """`detection`, `distillation`: the two losses; `parts`: by part of the student, and `all`
    for all that distillation reaches, the number of parameters `reached`, the `share` of the
    gradient and its `cosine` with detection's, see `pull.py`.
    """
    parts = pulls(detection, distillation, student)
    shown = parts if not parts else {"all": together(parts)} | parts
    losses = {"detection": sum(detection.values()), "distillation": sum(distillation.values())}
    return numbers(losses) | {"parts": {name: _shown(pull) for name, pull in shown.items()}}


def _shown(pull: Pull) -> dict:
    cosine = pull.cosine
    return {
        "reached": pull.reached,
        "share": round(pull.share, 4),
        "cosine": None if cosine is None else round(cosine, 4),
    }
