"""A factor on a method's losses, found with the same small budget for every method.

1. A probe trains 50 steps of the run as it is, and holds the distillation's share of the
   student's gradient at 30 % by setting the factor anew every five steps. The median of what it
   needed, over the second half, says which factor gives which share. The share is that of the
   gradient's norm, not of the loss: losses have floors (the entropy of soft targets) and signs
   (a likelihood), which teach nothing. It is taken where the loss acts, see `pull.py`.
2. The candidates are factors of given shares; 1, the weights as published, where that is another
   factor and has a share of 2 to 98 %: with less there is nothing to see of the method, with more
   nothing of the labels; and 0, which is `none`, and the same for all methods of a detector and
   ratio. Each trains a student for 400 steps on four fifths of the training frames, and is scored
   on the rest. The validation frames are not looked at.
3. Of the factors whose mean of BEV and 3D mAP is within noise of the best one's, the least wins:
   what does not help is switched down. Noise is the standard deviation of a difference between
   two runs, from seeds of the candidate 0. Where nothing but 0 is that good, the least wins.

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
from kdbench.training.networks import build_networks
from kdbench.training.progress import Reporter
from kdbench.training.pull import pulls, together

PROBE_STEPS, PROBE_EVERY, PROBE_SHARE = 50, 5, 0.3
HELD_OUT = 5  # every fifth training frame
SEEN = 0.02, 0.98  # shares at which published weights are worth a try
SAME = 1.25  # factors nearer than this are not told apart
ZERO_SEEDS = 4
MAPS = ("bev_map", "3d_map")


class HeldOut(Dataset):
    """A data set whose validation frames are every fifth of its training frames."""

    name = "held-out"

    def __init__(self, dataset: Dataset):
        self.dataset, self.classes = dataset, dataset.classes

    @property
    def kinds(self):
        return self.dataset.kinds

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
        pull = together(pulls(detection, distillation, self.student))
        return math.sqrt(pull.detection / pull.distillation) if pull else None


@dataclass(frozen=True)
class Tuner:
    """What every method is tuned with."""

    dataset: Dataset
    device: torch.device
    reporter: Reporter
    shares: Sequence[float] = (0.02, 0.1, 0.3)  # of the gradient's norm
    steps: int = 400  # a candidate's training

    def zero(self, spec: RunSpec, seeds: int = ZERO_SEEDS) -> dict[str, Any]:
        """Candidate 0 for all methods of the cell of `spec`, and how much seeds differ there.

        Returns `runs` (each with `seed`, `bev_map` and `3d_map`), the means `bev_map` and
        `3d_map`, and `noise`: of the mean of both maps, between two runs of unlike seeds.
        """
        held_out = replace(self, dataset=HeldOut(self.dataset))
        runs = [
            {"seed": seed} | held_out.trained(replace(spec.baseline(), seed=seed), f"seed {seed}")
            for seed in range(seeds)
        ]
        if any(run["bev_map"] is None for run in runs):
            raise KdbenchError(f"{spec.baseline().label} diverged; try a lower train.lr")
        noise = math.sqrt(2) * statistics.stdev(map(mean_map, runs))
        means = {key: round(statistics.fmean(run[key] for run in runs), 3) for key in MAPS}
        return means | {"noise": round(noise, 3), "runs": runs}

    def tune(self, spec: RunSpec, zero: dict[str, Any]) -> dict[str, Any]:
        """Finds the factor for the method of `spec`; its teacher must be trained.

        `zero` is what the method of that name gave. Returns `scale`, `published_share` (None
        without a gradient), `candidates` (each with `name`, `scale`, `share`, `bev_map` and
        `3d_map`, None where the training diverged; the first is 0), `helps` (whether the chosen
        one is better than 0 by more than noise), `noise` and `budget`. Raises NotApplicable for a
        method without a loss of its own.
        """
        check_tunable(methods.get(spec.method.name))
        held_out = replace(self, dataset=HeldOut(self.dataset))
        balance = held_out.balance(spec)
        if balance is None:
            self.reporter.say(f"{spec.method.name}: no gradient in the probe, nothing to tune")
        factors = {} if balance is None else candidate_factors(balance, self.shares)
        nothing = {"name": "0", "scale": 0.0, "share": 0.0} | {key: zero[key] for key in MAPS}
        candidates = [held_out.candidate(spec, *each, balance) for each in factors.items()]
        best = chosen(candidates, nothing, zero["noise"]) if candidates else None
        return {
            "scale": best["scale"] if best else 1.0,
            "published_share": None if balance is None else share_of(1.0, balance),
            "helps": bool(best) and mean_map(best) > mean_map(nothing) + zero["noise"],
            "noise": zero["noise"],
            "candidates": [nothing, *candidates],
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
        own = replace(spec, method=replace(spec.method, scale=scale))
        found = self.trained(own, f"{name} (scale {scale:g})")
        return {"name": name, "scale": scale, "share": share_of(scale, balance)} | found

    def trained(self, spec: RunSpec, name: str) -> dict[str, float | None]:
        """BEV and 3D mAP of a run of `steps`; None for both where it diverged."""
        training = self._training(
            replace(spec, train=replace(spec.train, steps=self.steps)), Training
        )
        try:
            with tempfile.TemporaryDirectory() as folder:
                training.folder = Path(folder)
                training.run()
        except TrainingDiverged as error:
            self.reporter.say(str(error))
            return dict.fromkeys(MAPS)
        found = detect(training.student, self.dataset, self.device, self.reporter)
        metrics = score(self.dataset, found, training.student.point_range)
        maps = {key: round(metrics[key], 3) for key in MAPS}
        self.reporter.say(f"{spec.method.name} {name}: {maps}")
        return maps

    def _training(self, spec: RunSpec, kind: type[Training]) -> Training:
        networks = build_networks(spec, self.device)
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


def mean_map(candidate: dict[str, Any]) -> float:
    """The mean of BEV and 3D mAP."""
    return statistics.fmean(candidate[key] for key in MAPS)


def chosen(candidates: list[dict], nothing: dict, noise: float) -> dict:
    """The least factor that is within noise of the best, and else the least; not 0 itself.

    Raises KdbenchError when all diverged.
    """
    alive = [c for c in candidates if c["bev_map"] is not None]
    if not alive:
        raise KdbenchError("every candidate diverged; try a lower train.lr")
    best = max(map(mean_map, [nothing, *alive]))
    near = [c for c in alive if mean_map(c) >= best - noise]
    return min(near or alive, key=lambda c: c["scale"])
