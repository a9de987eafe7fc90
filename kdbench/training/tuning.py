"""A factor on a method's losses, found with the same small budget for every method.

1. A probe trains 50 steps of the run as it is, and holds the distillation's share of the
   student's gradient at 30 % by setting the factor anew every five steps. The median of what it
   needed, over the second half, says which factor gives which share. The share is that of the
   gradient's norm, not of the loss: losses have floors (the entropy of soft targets) and signs
   (a likelihood), which teach nothing.
2. The candidates are factors of given shares, and 1, the weights as published, where that is
   another factor and has a share of 2 to 98 %: with less there is nothing to see of the method,
   with more nothing of the labels. Each trains a student for 100 steps on four fifths of the
   training frames, and is scored on the rest. The validation frames are not looked at.
3. The best mean of BEV and 3D mAP wins; of equals, the least factor.

A method that has no gradient that early, as one whose teacher first has to find objects, keeps its
published weights.
"""

import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdbench.dataset import Dataset
from kdbench.errors import KdbenchError, NotApplicable, TrainingDiverged
from kdbench.method import Method
from kdbench.registry import methods
from kdbench.runs.spec import RunSpec
from kdbench.training.evaluate import detect, score
from kdbench.training.loop import Training
from kdbench.training.progress import Reporter
from kdbench.training.run import build_networks

PROBE_STEPS, PROBE_EVERY, PROBE_SHARE = 50, 5, 0.3
HELD_OUT = 5  # every fifth training frame
SEEN = 0.02, 0.98  # shares at which published weights are worth a try
SAME = 1.25  # factors nearer than this are not told apart


class HeldOut(Dataset):
    """A data set whose validation frames are every fifth of its training frames."""

    name = "held-out"

    def __init__(self, dataset: Dataset):
        self.dataset, self.classes = dataset, dataset.classes

    def ids(self, split: str) -> list[str]:
        """The held-out frames for `val`, the others for `train`."""
        ids = self.dataset.ids("train")
        held = ids[::HELD_OUT]
        return held if split == "val" else [i for i in ids if i not in set(held)]

    def frame(self, frame_id: str):
        return self.dataset.frame(frame_id)

    def training_frame(self, frame_id: str, rng):
        return self.dataset.training_frame(frame_id, rng)

    def objects(self, frame_id: str):
        return self.dataset.objects(frame_id)

    def fingerprint(self) -> str:
        return f"{self.dataset.fingerprint()}-held-out-{HELD_OUT}"

    def verify(self) -> list[str]:
        return self.dataset.verify()


@dataclass
class Probe(Training):
    """A training that keeps distillation at a fixed share of the student's gradient."""

    # |detection's gradient| / |distillation's|, by step. The factor s has share s / (s + this).
    balances: dict[int, float] = field(default_factory=dict)
    factor: float = 0.0
    done: int = 0

    def scale(self, detection: dict[str, Tensor], distillation: dict[str, Tensor]) -> float:
        if self.done % PROBE_EVERY == 0 and distillation:
            balance = self._balance(detection, distillation)
            if balance is not None:
                self.balances[self.done] = balance
                self.factor = scale_of(PROBE_SHARE, balance)
        self.done += 1
        return self.factor

    def _balance(self, detection, distillation) -> float | None:
        """None where distillation has no gradient (no object in the batch, a ramp's start)."""
        norms = [self._gradient_norm(terms) for terms in (detection, distillation)]
        return norms[0] / norms[1] if norms[1] > 0 else None

    def _gradient_norm(self, terms: dict[str, Tensor]) -> float:
        total = sum(terms.values())
        if not total.requires_grad:
            return 0.0
        gradients = torch.autograd.grad(
            total, list(self.student.parameters()), retain_graph=True, allow_unused=True
        )
        norms = [g.norm() for g in gradients if g is not None]
        return float(torch.stack(norms).norm()) if norms else 0.0


@dataclass(frozen=True)
class Tuner:
    """What every method is tuned with."""

    dataset: Dataset
    device: torch.device
    reporter: Reporter
    shares: Sequence[float] = (0.2, 0.5)  # of the gradient's norm
    steps: int = 100  # a candidate's training

    def tune(self, spec: RunSpec) -> dict[str, Any]:
        """Finds the factor for the method of `spec`; its teacher must be trained.

        Returns `scale`, `published_share` (None without a gradient), `candidates` (each with
        `name`, `scale`, `share`, `bev_map` and `3d_map`, None where the training diverged) and
        `budget`. Raises NotApplicable for a method without a loss of its own.
        """
        check_tunable(methods.get(spec.method.name))
        held_out = replace(self, dataset=HeldOut(self.dataset))
        balance = held_out.balance(spec)
        if balance is None:
            self.reporter.say(f"{spec.method.name}: no gradient in the probe, nothing to tune")
        factors = {} if balance is None else candidate_factors(balance, self.shares)
        candidates = [held_out.candidate(spec, *each, balance) for each in factors.items()]
        return {
            "scale": chosen(candidates, spec)["scale"] if candidates else 1.0,
            "published_share": None if balance is None else share_of(1.0, balance),
            "candidates": candidates,
            "budget": {
                "probe_steps": PROBE_STEPS,
                "steps": self.steps,
                "held_out_frames": len(held_out.dataset.ids("val")),
            },
        }

    def balance(self, spec: RunSpec) -> float | None:
        """The factor at which both gradients are equally long, from the probe.

        None when distillation has no gradient in the probe's second half.
        """
        train = replace(spec.train, steps=max(spec.train.steps, PROBE_STEPS))
        probe = self._training(replace(spec, train=train), Probe)
        state = probe.initial_state()
        for batch in islice(probe.batches(0), PROBE_STEPS):
            probe.step(state, batch)
        late = [b for step, b in probe.balances.items() if step >= PROBE_STEPS // 2]
        return statistics.median(late) if late else None

    def candidate(self, spec: RunSpec, name: str, scale: float, balance: float) -> dict[str, Any]:
        """Trains and scores one factor."""
        result = {"name": name, "scale": scale, "share": share_of(scale, balance)}
        train = replace(spec.train, steps=self.steps)
        training = self._training(
            replace(spec, train=train, method=replace(spec.method, scale=scale)), Training
        )
        try:
            with tempfile.TemporaryDirectory() as folder:
                training.folder = Path(folder)
                training.run()
        except TrainingDiverged as error:
            self.reporter.say(str(error))
            return result | {"bev_map": None, "3d_map": None}
        found = detect(training.student, self.dataset, self.device, self.reporter)
        metrics = score(self.dataset, found, training.student.point_range)
        maps = {key: round(metrics[key], 3) for key in ("bev_map", "3d_map")}
        self.reporter.say(f"{spec.method.name} {name} (scale {scale:g}): {maps}")
        return result | maps

    def _training(self, spec: RunSpec, kind: type[Training]) -> Training:
        networks = build_networks(spec, self.dataset, self.device)
        return kind(spec, self.dataset, *networks, self.device, None, self.reporter)


def check_tunable(kind: type[Method]) -> None:
    """Raises NotApplicable, with the reason, for a method that has no loss of its own."""
    if kind.wraps:
        reason = "has no loss of its own, it takes the factor of the method it wraps"
    elif kind.teacher == "none" or not kind.teaches_by_loss:
        reason = "teaches by no loss, there is nothing to tune"
    else:
        return
    raise NotApplicable(f"not applicable: {kind.name} {reason}")


def scale_of(share: float, balance: float) -> float:
    """The factor at which distillation has a share of the gradient: s / (s + balance) = share."""
    return balance * share / (1 - share)


def share_of(scale: float, balance: float) -> float:
    """The inverse of `scale_of`, to four digits."""
    return round(scale / (scale + balance), 4)


def candidate_factors(balance: float, shares: Sequence[float]) -> dict[str, float]:
    """The factors to try, by name."""
    factors = {f"{share:.0%}": rounded(scale_of(share, balance)) for share in shares}
    least, most = SEEN
    apart = all(abs(math.log(factor)) > math.log(SAME) for factor in factors.values())
    if apart and least <= share_of(1.0, balance) <= most:
        factors["published"] = 1.0
    return factors


def rounded(value: float) -> float:
    """Two significant digits: the probe knows no more."""
    return float(f"{value:.1e}")


def chosen(candidates: list[dict], spec: RunSpec) -> dict:
    """The candidate of the best mean of BEV and 3D mAP; of equals, that of the least factor.

    Raises KdbenchError when all diverged.
    """
    alive = [c for c in candidates if c["bev_map"] is not None]
    if not alive:
        raise KdbenchError(f"{spec.label}: every candidate diverged; try a lower train.lr")
    return max(alive, key=lambda c: (c["bev_map"] + c["3d_map"], -c["scale"]))
