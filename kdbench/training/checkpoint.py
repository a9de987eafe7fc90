"""Checkpoints: everything that the next step depends on, in one file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdbench.storage.files import replacing


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
        with replacing(path) as temporary:
            torch.save(values, temporary)

    def load(self, path: Path) -> bool:
        """Takes the state from a file. False, and nothing changed, if there is no usable one."""
        try:
            values = torch.load(path, weights_only=True, map_location="cpu")
            step = int(values["step"])
        except FileNotFoundError:
            return False
        except Exception:  # any damage at all: the training starts anew and overwrites the file
            return False
        self.student.load_state_dict(values["student"])
        self.method.load_state_dict(values["method"])
        self.optimizer.load_state_dict(values["optimizer"])
        self.schedule.load_state_dict(values["schedule"])
        self.scaler.load_state_dict(values["scaler"])
        if self.average is not None:
            self.average.load_state_dict(values["average"])
        torch.set_rng_state(values["random"])
        self.step, self.seconds = step, float(values["seconds"])
        return True
