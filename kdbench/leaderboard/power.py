"""How large a gain must be to be seen, at the noise that was measured.

The gain over n seeds and f frames has the variance  S / n + M f0 / f :  S that of one seed's gain
(its own luck with the frames included), M what frames do to all seeds alike, measured on f0 frames
(`bootstrap.py`). A gain is seen with a probability of 80 % at a level of 5 % when it is

    (t_0.975 + t_0.8) sqrt( S / n + M f0 / f ),     Student's t with n - 1 degrees of freedom
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from kdbench.evaluation.resample import METRICS, unpack
from kdbench.leaderboard.bootstrap import LEVEL, common_part
from kdbench.leaderboard.cells import Cell
from kdbench.runs.records import Record

POWER = 0.8
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Noise:
    """Variances of a gain in mAP, of BEV or 3D, from some cells of a table."""

    seeds: float  # S: of one seed's gain
    frames: float  # M: of frames, what seeds have in common
    measured_on: int  # frames f0
    freedom: int  # degrees of freedom behind S


def measured_noise(cells: Iterable[Cell], metric: str) -> Noise | None:
    """The noise of gains, pooled over cells of at least two seeds; None without such a cell."""
    m = METRICS.index(metric)
    spread, freedom, shared, frames = 0.0, 0, [], 0
    for runs, baselines in cells:
        if len(runs) < 2:
            continue
        key = f"{metric}_map"
        gains = [
            r["metrics"][key] - b["metrics"][key] for r, b in zip(runs, baselines, strict=True)
        ]
        drawn = np.stack([_maps(r, m) - _maps(b, m) for r, b in zip(runs, baselines, strict=True)])
        spread += np.var(gains, ddof=1) * (len(gains) - 1)
        freedom += len(gains) - 1
        shared.append(drawn.mean(0).var() * common_part(drawn) ** 2)
        frames = runs[0]["metrics"]["resamples"]["frames"]
    if not freedom:
        return None
    return Noise(float(spread / freedom), float(np.mean(shared)), frames, freedom)


def _maps(record: Record, metric: int) -> np.ndarray:
    """mAP of each draw."""
    return unpack(record["metrics"]["resamples"])[metric].mean(0)


def detectable(noise: Noise, seeds: int, frames: int) -> float:
    """The least gain that `seeds` and `frames` show, in points of mAP."""
    variance = noise.seeds / seeds + noise.frames * noise.measured_on / frames
    quantiles = stats.t.ppf([(1 + LEVEL) / 2, POWER], seeds - 1)
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
