"""How large a gain must be to be seen, at the noise that was measured.

The gain over n seeds of a method, n of `none` and f frames has the variance  2 v / n + F f0 / f :
v over seeds (their own luck with the frames included), F what frames do to all seeds alike,
measured on f0 frames (`gains.py`). A gain is seen with a probability of 80 % at a level of 5 %
when it is

    (t_0.975 + t_0.8) sqrt( 2 v / n + F f0 / f ),     Student's t with 2 (n - 1) degrees of freedom
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from kdbench.leaderboard.cells import Cell
from kdbench.leaderboard.gains import LEVEL, POWER, gains
from kdbench.leaderboard.scores import scores_of

MOST_SEEDS = 1000


@dataclass(frozen=True)
class Noise:
    """Variances of mAP, of BEV or 3D, from some cells of a table."""

    seeds: float  # v: of one run over seeds
    frames: float  # F: of a gain over frames, what seeds have in common
    measured_on: int  # frames f0
    freedom: int  # degrees of freedom behind v


def measured_noise(cells: Iterable[Cell], metric: str) -> Noise | None:
    """The noise of gains, pooled over the rows of cells; None without a row of two seeds."""
    rows, frames, measured_on = {}, [], 0
    for cell in cells:
        own, none = (scores_of(runs) for runs in cell)
        found = gains(own, none, {}).get(f"{metric}_map")
        if found is None:
            continue
        frames.append(found.of_frames**2)
        measured_on = own.frames[0]
        k = own.keys.index(f"{metric}_map")
        for runs, scores in zip(cell, (own, none), strict=True):
            rows[runs[0]["hash"]] = scores.freedom, scores.variance[k]
    freedom = sum(f for f, _ in rows.values())
    if not freedom:
        return None
    pooled = sum(f * variance for f, variance in rows.values()) / freedom
    return Noise(float(pooled), float(np.mean(frames)), measured_on, freedom)


def detectable(noise: Noise, seeds: int, frames: int) -> float:
    """The least gain that `seeds` of both and `frames` show, in points of mAP."""
    variance = 2 * noise.seeds / seeds + noise.frames * noise.measured_on / frames
    quantiles = stats.t.ppf([(1 + LEVEL) / 2, POWER], 2 * (seeds - 1))
    return float(quantiles.sum() * np.sqrt(variance))


def seeds_needed(noise: Noise, gain: float, frames: int) -> int | None:
    """The least number of seeds that shows `gain`; None when no number up to 1000 does."""
    if detectable(noise, MOST_SEEDS, frames) > gain:
        return None
    low, high = 1, MOST_SEEDS  # more seeds always show smaller gains
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if detectable(noise, middle, frames) <= gain else (middle, high)
    return high
