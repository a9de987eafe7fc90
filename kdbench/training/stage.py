"""A stage of a method's own, before its student's training.

What learns in it (`Method.stage_modules`) is frozen afterwards. It depends on no length of the
student's training, so budgets share it:

KDBENCH_HOME/stages/<hash>/stage.safetensors   its weights, and what they cost
                          /checkpoint.pt       while it runs
"""

import json
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from kdbench.dataset import Batch
from kdbench.errors import DataError
from kdbench.method import Method
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import checksum, load_weights
from kdbench.storage.files import CannotWrite, write_bytes
from kdbench.storage.home import home
from kdbench.storage.lock import alone
from kdbench.training import processes
from kdbench.training.aligned import inputs_of
from kdbench.training.checkpoint import State
from kdbench.training.loop import Training
from kdbench.training.shares import own_share
from kdbench.training.terms import checked_terms
from kdbench.training.whole import whole_taps


@dataclass
class Stage(Training):
    """The training of a method's stage: its student takes no part in it."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The stage's losses of a batch, by name, from what the teacher shows."""
        own = own_share(batch)
        with self._autocast():
            inputs = inputs_of(self.teacher, self.student.prepare(own), own)
        taps = whole_taps(self._teacher_taps(inputs), batch)
        found = self.method.stage_loss(self.teacher, taps, batch)
        return checked_terms(f"the stage of method {self.method.name!r}", found)

    def initial_state(self) -> State:
        self.method.train()
        return self._state(list(learning(self.method).parameters()))

    def _after_step(self, state: State) -> None:
        """A method's hook is for its student's steps."""


def first_stage(training: Training) -> dict | None:
    """Carries out the stage of a training's method, or takes it from an earlier one.

    Returns what it cost: `steps` and `seconds`. None for a method without one. Every process of
    several takes part. Random draws of what follows are the same either way.
    """
    method = training.method
    if not method.stage_steps:
        return None
    spec = stage_spec(training.spec, method)
    path = stage_folder(spec) / "stage.safetensors"
    with alone(path.parent) if processes.leads() else nullcontext():
        processes.gathered(None)  # all wait for the leader, who may wait for another run
        cost = _earlier(path, method)
        processes.check_equal(cost is None, "see different stages; KDBENCH_HOME must be shared")
        cost = cost or _carried_out(training, spec, path)
    method.freeze_stage()
    return cost


def learning(method: Method) -> nn.Module:
    """What learns in a method's stage, as one module."""
    return nn.ModuleList(method.stage_modules())


def stage_spec(spec: RunSpec, method: Method) -> RunSpec:
    """The run as far as its stage depends on it."""
    train = replace(spec.train, steps=method.stage_steps)
    return replace(spec, train=train, method=replace(spec.method, scale=1.0))


def stage_folder(spec: RunSpec) -> Path:
    """Where a stage is kept."""
    return home() / "stages" / spec.hash


def _carried_out(training: Training, spec: RunSpec, path: Path) -> dict:
    parts = training.student, training.teacher, training.method, training.device
    stage = Stage(spec, training.dataset, *parts, path.parent, training.reporter)
    training.reporter.say(f"{training.spec.label}: a stage of {spec.train.steps} steps before")
    with torch.random.fork_rng(devices=[]):
        cost = {key: value for key, value in stage.train().items() if key in ("steps", "seconds")}
    if processes.leads():
        found = learning(training.method).state_dict()
        tensors = {name: value.contiguous().cpu() for name, value in found.items()}
        metadata = {"cost": json.dumps(cost), "sha256": checksum(tensors)}
        try:
            write_bytes(path, safetensors.torch.save(tensors, metadata=metadata))
        except CannotWrite as error:
            training.reporter.say(f"warning: the stage is not kept: {error}")
        stage.checkpoint.unlink(missing_ok=True)
    return cost


def _earlier(path: Path, method: Method) -> dict | None:
    """The cost of a stage that was carried out before, its weights put into the method."""
    try:
        load_weights(path, learning(method))
        with safetensors.safe_open(path, framework="pt") as file:
            return json.loads(file.metadata()["cost"])
    except (DataError, OSError, ValueError, LookupError, TypeError):
        return None  # not there, or damaged: it is carried out anew
