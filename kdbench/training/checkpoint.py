"""Checkpoints: everything that the next step depends on, in one file, with a checksum at its end.

The file is torch's, which does not mind what comes after it.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdbench.errors import DataError, KdbenchError
from kdbench.storage.files import write_bytes

MARK = b"kdbench sha256"  # between torch's part and the checksum of it
FIXED = ("weight_decay", "eps", "amsgrad", "maximize")  # of an optimiser's groups


class Damaged(DataError):
    """A checkpoint that cannot be gone on from."""


@dataclass
class State:
    """The parts of a training that change from step to step."""

    student: nn.Module
    method: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Any
    scaler: torch.amp.GradScaler
    average: nn.Module | None = None  # a teacher that changes: the student's moving average
    step: int = 0
    seconds: float = 0.0  # spent in training so far, over all its parts

    def save(self, path: Path) -> None:
        """Writes the state by way of a temporary name: a kill leaves the last whole one."""
        values = {
            "student": self.student.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "step": self.step,
            "seconds": self.seconds,
            "random": torch.get_rng_state(),
        }
        buffer = io.BytesIO()
        torch.save(values, buffer)
        write_bytes(path, sealed(buffer.getvalue()))

    def load(self, path: Path) -> bool:
        """Takes the state from a file. False if there is none.

        Raises Damaged, and nothing is changed, for one whose bytes are not those that were written;
        KdbenchError for one of another student or method.
        """
        values = _read(path)
        if values is None:
            return False
        try:
            self._take(values)
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise KdbenchError(
                f"{path}: of another network or method, was a plugin changed? ({reason}); --force "
                "trains anew"
            ) from None
        return True

    def _take(self, values: dict[str, Any]) -> None:
        settings = self._settings()
        self.student.load_state_dict(values["student"])
        self.method.load_state_dict(values["method"])
        self.optimizer.load_state_dict(values["optimizer"])
        self.schedule.load_state_dict(values["schedule"])
        self.scaler.load_state_dict(values["scaler"])
        if self.average is not None:
            self.average.load_state_dict(values["average"])
        torch.set_rng_state(values["random"])
        self.step, self.seconds = values["step"], float(values["seconds"])
        if self._settings() != settings:
            raise ValueError("its optimiser or schedule has other settings")
        self._check()

    def _settings(self) -> list:
        """What of optimiser and schedule no step changes."""
        groups = [{k: g[k] for k in FIXED} for g in self.optimizer.param_groups]
        return [groups, *(vars(self.schedule)[k] for k in ("total_steps", "_schedule_phases"))]

    def _check(self) -> None:
        """Raises ValueError for what no optimiser and no schedule of this training had."""
        last = self.schedule.total_steps - 1
        if type(self.step) is not int or not 0 <= self.step <= last:
            raise ValueError(f"step {self.step} of {last}")
        if self.schedule.last_epoch != self.step:
            raise ValueError(f"the schedule is at step {self.schedule.last_epoch}, not {self.step}")
        for parameter, moments in self.optimizer.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                if moments[name].shape != parameter.shape:
                    raise ValueError(f"{name} of a parameter has another shape")


def sealed(data: bytes) -> bytes:
    """The data with its checksum behind it."""
    return data + MARK + hashlib.sha256(data).digest()


def _read(path: Path) -> dict[str, Any] | None:
    """What a checkpoint holds; None if there is none. Raises Damaged."""
    try:
        stored = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Damaged(f"{path}: cannot be read ({error.strerror})") from None
    data, mark, _ = stored.rpartition(MARK)
    if mark and sealed(data) != stored:
        raise Damaged(f"{path}: damaged, its checksum does not fit")
    try:  # one without a checksum is of a version that wrote none, or cut off, which torch sees
        return torch.load(io.BytesIO(data or stored), weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Damaged(f"{path}: damaged ({reason[:80]})") from None
