"""How one cell changed, figure by figure, and which changes are regressions.

A cell is what differs by the seed alone. Worse is

- a drop of AP (either mAP, or any class) beyond a limit and outside its noise: the 95 % interval
  of the mean difference leaves out zero. The interval is over resampled frames, and over seeds
  where there are several (`bootstrap.py`); where records hold no resampled AP it is Student's t
  over three seeds or more; else the limit alone decides;
- a latency (p50) beyond a limit whose samples differ in a rank test (`slowdown.py`);
- any growth of parameters or MACs.

Improvements are found by the same rules the other way round. Every AP is judged by itself, so of
cells trained anew without being bit-identical about one in ten has an alarm in some class
(simulated, three classes, one to three seeds), one in fifty in a mAP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy import stats

from kdbench.leaderboard.bootstrap import LEVEL, paired_intervals
from kdbench.leaderboard.pairing import CannotCompare, Pair
from kdbench.leaderboard.slowdown import LEVEL as RANK_LEVEL
from kdbench.leaderboard.slowdown import Latencies, rank_test

REGRESSION, IMPROVEMENT = "regression", "improvement"
WITHIN, SAME, UNJUDGED = "within limits", "same", "not judged"
LEAST_SEEDS = 3  # for an interval over seeds alone

NOISE_UNKNOWN = (
    f"noise unknown: no resampled AP in the records (kdbench rescore adds it) and fewer than "
    f"{LEAST_SEEDS} seeds, so the limit alone decides on AP"
)
ONE_SEED = "one seed: intervals are over frames and leave out how much a training varies by itself"

Bounds = dict[str, tuple[float, float]]  # of the difference of an AP, by its name


@dataclass(frozen=True)
class Limits:
    """What is tolerated even outside of noise."""

    max_drop: float = 0.5  # points of AP
    max_slowdown: float = 0.1  # share of BASE's p50


@dataclass(frozen=True)
class Change:
    """One figure of a cell, mean over its seeds, before and after."""

    figure: str  # bev_map, 3d_map, bev_car, ..., latency_p50_ms, parameters, macs
    base: float
    new: float
    verdict: str
    low: float | None = None  # of the interval of an AP's difference
    high: float | None = None
    p: float | None = None  # of a latency's rank test, one-sided


def accuracy_changes(pairs: Sequence[Pair], limits: Limits) -> tuple[list[Change], str | None]:
    """The changes of every AP of a cell, and what to know about their noise."""
    base, new = ([getattr(pair, side).ap for pair in pairs] for side in ("base", "new"))
    if base == new:
        return [
            Change(name, x := fmean(ap[name] for ap in base), x, SAME) for name in base[0]
        ], None
    bounds, note = noise(pairs)
    changes = []
    for name in base[0]:
        a, b = (fmean(ap[name] for ap in side) for side in (base, new))
        low, high = bounds.get(name, (None, None))
        changes.append(Change(name, a, b, _ap_verdict(b - a, low, high, limits), low, high))
    return changes, note


def _ap_verdict(gain: float, low: float | None, high: float | None, limits: Limits) -> str:
    if gain == 0:
        return SAME
    if abs(gain) <= limits.max_drop or (low is not None and low <= 0 <= high):
        return WITHIN
    return IMPROVEMENT if gain > 0 else REGRESSION


def noise(pairs: Sequence[Pair]) -> tuple[Bounds, str | None]:
    """95 % intervals of NEW less BASE by name of AP, and a note on what they leave out.

    No intervals where the records do not say how large the noise is.
    """
    try:
        found = paired_intervals([p.new.record for p in pairs], [p.base.record for p in pairs])
    except (KeyError, TypeError, ValueError) as error:
        label = pairs[0].new.spec.label
        raise CannotCompare(f"{label}: damaged resamples in its record ({error})") from None
    if found:
        return {k: (i.low, i.high) for k, i in found.items()}, ONE_SEED if len(pairs) == 1 else None
    if len(pairs) < LEAST_SEEDS:
        return {}, NOISE_UNKNOWN
    names = pairs[0].base.ap
    return {n: over_seeds([p.new.ap[n] - p.base.ap[n] for p in pairs]) for n in names}, None


def over_seeds(differences: Sequence[float]) -> tuple[float, float]:
    """Student's t interval of a mean difference, from one difference a seed."""
    n = len(differences)
    error = np.std(differences, ddof=1) / np.sqrt(n)
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * error
    return fmean(differences) - float(half), fmean(differences) + float(half)


def latency_change(found: Latencies, limits: Limits) -> Change:
    """The change of a cell's latency. The rank test is made of what is beyond the limit only."""
    slower = found.new > found.base
    low, high = sorted((found.base, found.new))
    p = None
    if not found.judged:
        verdict = UNJUDGED
    elif high / low <= 1 + limits.max_slowdown:
        verdict = SAME if high == low else WITHIN
    else:
        p = rank_test(*found.samples[:: 1 if slower else -1]) if found.samples else 0.0
        verdict = WITHIN if p >= RANK_LEVEL else REGRESSION if slower else IMPROVEMENT
    return Change("latency_p50_ms", found.base, found.new, verdict, p=p if found.samples else None)


def cost_changes(pairs: Sequence[Pair]) -> list[Change]:
    """Parameters and MACs: they have no noise, so any growth counts, in any seed."""
    changes = []
    for name in pairs[0].base.cost:
        before, after = ([getattr(p, side).cost[name] for p in pairs] for side in ("base", "new"))
        grown = any(b > a for a, b in zip(before, after, strict=True))
        changed = before != after
        verdict = REGRESSION if grown else IMPROVEMENT if changed else SAME
        changes.append(Change(name, fmean(before), fmean(after), verdict))
    return changes
