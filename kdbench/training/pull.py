"""How hard a distillation pulls at a student, beside the labels and where it acts.

A loss is compared with detection's over the parameters that its gradient reaches, and over no
others: an optimiser such as AdamW scales each parameter by its own gradients, so what the labels
do to the rest of the network says nothing of what this loss does to its part.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Pull:
    """Two gradients over the same parameters: the squares of their norms and their product."""

    reached: int  # parameters
    detection: float
    distillation: float
    product: float

    def __add__(self, other: "Pull") -> "Pull":
        return Pull(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    @property
    def share(self) -> float:
        """|distillation's| / (|distillation's| + |detection's|), 0..1."""
        own, other = math.sqrt(self.distillation), math.sqrt(self.detection)
        return own / (own + other)

    @property
    def cosine(self) -> float | None:
        """Of the angle between the two; None where detection's is zero."""
        if self.detection == 0:
            return None
        return self.product / math.sqrt(self.distillation * self.detection)


def pulls(detection: Terms, distillation: Terms, student: nn.Module) -> dict[str, Pull]:
    """By part of the student (its children), those that distillation reaches at all.

    The terms' graph is left as it was, and so are the parameters' own gradients.
    """
    named = dict(student.named_parameters())
    ours, theirs = (_gradients(terms, list(named.values())) for terms in (distillation, detection))
    found: dict[str, Pull] = {}
    for name, own, other in zip(named, ours, theirs, strict=True):
        if own is None or not own.any():
            continue
        other = torch.zeros_like(own) if other is None else other
        sums = (float((a.double() * b.double()).sum()) for a, b in
                ((other, other), (own, own), (own, other)))  # fmt: skip
        part, pull = name.split(".")[0], Pull(own.numel(), *sums)
        found[part] = found[part] + pull if part in found else pull
    return found


def together(parts: dict[str, Pull]) -> Pull | None:
    """The pull over all parts; None where distillation reaches nothing."""
    first, *rest = parts.values() or [None]
    return sum(rest, first) if first else None


def _gradients(terms: Terms, parameters: list[Tensor]) -> list[Tensor | None]:
    total = sum(terms.values())
    if not (isinstance(total, Tensor) and total.requires_grad):
        return [None] * len(parameters)
    return list(torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True))
