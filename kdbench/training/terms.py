"""What a plugin hands to the training loop, held against its contract.

Types and shapes alone are looked at, which a device is not waited for: at every step.
"""

from typing import Any

import torch
from torch import Tensor

from kdbench.dataset import Batch
from kdbench.errors import KdbenchError, UsageError
from kdbench.method import Method
from kdbench.taps import Taps


class Distillation:
    """A method's loss terms and labels, as the loop takes them. Raises UsageError otherwise.

    The message names the method and the rule that it breaks.
    """

    def __init__(self, method: Method):
        self.method = method
        self.what = f"method {method.name!r}"
        # Whether it has worked once. What fails later is no matter of how it was written.
        self._works = False

    def terms(self, student: Taps, teacher: Taps, batch: Batch) -> dict[str, Tensor]:
        """The loss terms of a batch by name."""
        found = checked_terms(self.what, self._called(self.method, student, teacher, batch))
        for name, value in self.method.logs.items():
            _check_scalar(f"{self.what}: {name!r} of its logs", value)
        if not (found or self._works) and self._must_teach():
            raise UsageError(
                f"{self.what} returns no loss term, so that it would train as `none`: return a "
                "term, 0 where there is nothing to learn; a method that teaches by its hooks "
                "alone says so with `teaches_by_loss = False`"
            )
        self._works = True
        return found

    def relabelled(self, batch: Batch, teacher, taps: Taps) -> Batch:
        """The batch with the labels that the student's loss sees."""
        found = self._called(self.method.relabel, batch, teacher, taps)
        if not isinstance(found, Batch):
            raise UsageError(f"{self.what}: relabel must return a Batch, not {_kind(found)}")
        return found

    def _must_teach(self) -> bool:
        return self.method.teaches_by_loss and not self.method.wraps

    def _called(self, function, *arguments) -> Any:
        if self._works:
            return function(*arguments)
        try:
            return function(*arguments)
        except (KdbenchError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            reason = " ".join(str(error).split())
            raise UsageError(
                f"{self.what} fails with its options at its first batch: "
                f"{type(error).__name__}: {reason} (--debug shows where)"
            ) from error


def checked_terms(what: str, terms: Any) -> dict[str, Tensor]:
    """Loss terms, when they are scalars by name. Raises UsageError that names `what` otherwise."""
    if not isinstance(terms, dict):
        raise UsageError(f"{what} must return a dictionary of loss terms, not {_kind(terms)}")
    for name, term in terms.items():
        if not isinstance(name, str):
            raise UsageError(f"{what}: a loss term has the name {name!r}, which is no text")
        _check_scalar(f"{what}: loss term {name!r}", term)
        if not term.is_floating_point():
            raise UsageError(f"{what}: loss term {name!r} must be floating, not {term.dtype}")
    return terms


def _check_scalar(what: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise UsageError(f"{what} must be a tensor, a scalar, not {_kind(value)}")
    if value.dim() != 0:
        raise UsageError(f"{what} must be a scalar, not of shape {tuple(value.shape)}")


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
