"""Is the difference between two states of the code more than noise? Intervals of paired runs.

Runs of one spec before and after a change are pairs: what the change left alone is equal to the
bit. (Gains of methods over `none` are not paired, see `gains.py`.) The mean difference over seeds
has two sources of noise, and both are simulated:

- the seeds: the difference's standard error, s / sqrt(n), times a draw from Student's t with n - 1
  degrees of freedom. Three seeds drawn with replacement would look far too certain.
- the frames: those of the validation set are drawn anew with replacement, the same ones for both
  runs, and AP is computed again (`evaluation/resample.py`; records hold the outcome). A part of
  what differs between draws is one seed's luck with a frame, which the spread over seeds has
  counted; only what the seeds have in common is added.

With one seed the interval is over frames alone: it says nothing about another seed.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from kdbench.evaluation.filled_ap import ap_of
from kdbench.evaluation.resample import METRICS, unpack
from kdbench.runs.records import Record

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A difference with its interval, in points of AP."""

    value: float
    low: float
    high: float
    p: float  # two-sided: how often noise alone makes a difference as large
    seeds: int

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired_intervals(runs: Sequence[Record], baselines: Sequence[Record]) -> dict[str, Interval]:
    """Intervals of runs less baselines, pair by pair (one pair a seed), by metric.

    Keys are `bev_map` and `3d_map`, the means over classes, and `bev_car`, ... for each class.
    Empty when a record holds no resampled AP, or when pairs were scored on different frames.
    """
    packed = [r["metrics"].get("resamples") for r in (*runs, *baselines)]
    if not packed or None in packed or len({_drawn_from(p) for p in packed}) > 1:
        return {}
    ap = np.stack([unpack(p) for p in packed])
    drawn = ap[: len(runs)] - ap[len(runs) :]  # (seeds, metrics, classes, draws)
    plain = np.stack([_plain(r) - _plain(b) for r, b in zip(runs, baselines, strict=True)])
    drawn, plain = (np.concatenate([x.mean(2, keepdims=True), x], 2) for x in (drawn, plain))
    names = ("map", *runs[0]["metrics"]["resamples"]["classes"])
    keys = [f"{metric}_{name}" for metric in METRICS for name in names]
    shape = len(runs), len(keys)
    return dict(zip(keys, intervals(plain.reshape(shape), drawn.reshape(*shape, -1)), strict=True))


def interval(differences: np.ndarray, drawn: np.ndarray) -> Interval:
    """The interval of a mean difference.

    `differences` (seeds,) are those on all frames, `drawn` (seeds, draws) those on drawn frames.
    """
    return intervals(differences[:, None], drawn[:, None])[0]


def intervals(differences: np.ndarray, drawn: np.ndarray) -> list[Interval]:
    """The intervals of k mean differences (seeds, k), with those on drawn frames (seeds, k, draws).

    All at once: a leaderboard of 10,000 runs has 20,000 of them.
    """
    seeds, count, draws = drawn.shape
    value = differences.mean(0)
    # Around zero: the mean of resampled APs is a little off the AP of all frames.
    noise = drawn.mean(0) - drawn.mean((0, 2))[:, None]
    if seeds > 1:
        error = differences.std(0, ddof=1) / np.sqrt(seeds)
        noise = noise * common_part(drawn)[:, None]
        noise += error[:, None] * _student_t(seeds - 1, draws)
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.quantile(value[:, None] + noise, ends, axis=1)
    beyond = (np.abs(noise) >= np.abs(value)[:, None]).sum(1)
    columns = np.stack([value, low, high, (beyond + 1) / (draws + 1)])
    return [Interval(*columns[:, i].tolist(), seeds) for i in range(count)]


def common_part(drawn: np.ndarray) -> np.ndarray:
    """Which part of the mean's deviation over draws the seeds have in common, 0..1.

    With M the variance that they have in common and I that of each seed's own, the mean of n
    seeds has M + I / n, and one seed M + I. `drawn` is (seeds, ..., draws), the result (...).
    """
    seeds = len(drawn)
    of_mean, of_one = drawn.mean(0).var(-1), drawn.var(-1).mean(0)
    own = np.maximum(0.0, of_one - of_mean) / (seeds - 1)  # I / n
    share = np.divide(own, of_mean, out=np.ones(np.shape(own)), where=of_mean > 0)
    return np.sqrt(np.maximum(0.0, 1 - share))


@functools.cache
def _student_t(freedom: int, draws: int) -> np.ndarray:
    """Evenly spread quantiles of Student's t in a fixed random order: its tails without luck."""
    quantiles = stats.t.ppf((np.arange(draws) + 0.5) / draws, freedom)
    return np.random.default_rng(0).permutation(quantiles)


def _drawn_from(packed: dict) -> tuple:
    """What must agree for draws to pair off."""
    return packed["frames"], packed["draws"], tuple(packed["classes"])


def _plain(record: Record) -> np.ndarray:
    """AP on all frames, (metrics, classes); NaN for a class that no frame shows."""
    ap, names = ap_of(record["metrics"]), record["metrics"]["resamples"]["classes"]
    return np.array([[ap[metric][name] for name in names] for metric in METRICS], float)
