"""Is a gain more than noise? Intervals of differences between rows of one table.

A gain is the mean of a method's seeds less that of `none`'s, not paired: runs of one seed have
nothing in common but the order of the frames, which buys no correlation (measured, -0.2 to 0.25).
Its variance is

    v / n + v' / n' + F

with the variances over seeds v and v' of the method and of `none`, each moderated by the table's
(`moderation.py`), over n and n' seeds, and F, what frames do to the difference: its variance over
drawn frames less the seeds' own luck with them, I / n + I' / n'. Degrees of freedom are
Satterthwaite's, F counting as known; interval and p-value are Student's t, in closed form.

A row of one seed says nothing of its variance. Without a table that does, it is taken to be that
of the other row, and of two rows of one seed the interval is over frames alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from kdbench.leaderboard.moderation import Prior, fit_prior
from kdbench.leaderboard.scores import Scores

LEVEL, POWER = 0.95, 0.8


@dataclass(frozen=True)
class Gain:
    """A difference in points of AP."""

    value: float
    error: float  # standard error
    freedom: float  # degrees of freedom of the error; infinite where it is of frames alone
    of_frames: float  # standard error of what frames do, a part of `error`

    @property
    def low(self) -> float:
        return self.value - self._half()

    @property
    def high(self) -> float:
        return self.value + self._half()

    @property
    def p(self) -> float:
        """How often noise alone makes a difference as large, two-sided."""
        if self.error == 0:
            return float(self.value == 0)
        return float(2 * special.stdtr(self.freedom, -abs(self.value) / self.error))

    @property
    def significant(self) -> bool:
        return self.low > 0 or self.high < 0

    def smallest_seen(self, looks: int = 1) -> float:
        """The gain that would be seen with POWER at this noise, as the best of `looks` methods."""
        level = (1 - LEVEL) / 2 / looks
        return self.error * (self._quantile(1 - level) + self._quantile(POWER))

    def _half(self) -> float:
        return self.error * self._quantile((1 + LEVEL) / 2)

    def _quantile(self, share: float) -> float:
        # Of `special`: `stats.t` takes a hundred times as long for one number.
        return float(special.stdtrit(self.freedom, share))


Priors = dict[str, Prior | None]


def priors(rows: Iterable[Scores]) -> Priors:
    """What the rows of a table tell about variances over seeds, by key."""
    rows = list(rows)
    if not rows:
        return {}
    freedom = np.array([row.freedom for row in rows])
    variances = {key: [] for key in rows[0].keys}
    for row in rows:
        for key, value in zip(row.keys, row.variance, strict=True):
            variances.setdefault(key, []).append(value)
    return {
        key: fit_prior(np.array(found), freedom) if len(found) == len(rows) else None
        for key, found in variances.items()
    }


def errors_over_seeds(row: Scores | None, known: Priors) -> dict[str, float]:
    """Standard errors of a row's means by key; without those of which nothing is known."""
    if row is None:
        return {}
    found = {}
    for key, variance in zip(row.keys, row.variance, strict=True):
        prior = known.get(key)
        if prior or row.freedom:
            variance = prior.moderate(variance, row.freedom)[0] if prior else variance
            found[key] = float(np.sqrt(variance / len(row.of_seeds)))
    return found


def gains(
    row: Scores | None, none: Scores | None, known: Priors, fixed: bool = False
) -> dict[str, Gain]:
    """A row's gains over `none` by key; empty where they were scored on other frames.

    A row that is `fixed`, as a teacher, is this one network: other seeds of it are no noise.
    """
    if row is None or none is None or row.frames != none.frames:
        return {}
    of_frames = _of_frames(row, none)
    found = {}
    for k, key in enumerate(row.keys):
        value = row.mean[k] - none.mean[k]
        if np.isnan(value):  # a class that no frame shows
            continue
        parts = _over_seeds(row, none, k, known.get(key), fixed)
        variance = sum(part for part, _ in parts) + of_frames[k]
        found[key] = Gain(
            float(value), float(np.sqrt(variance)),
            _satterthwaite(parts, variance), float(np.sqrt(of_frames[k])),
        )  # fmt: skip
    return found


def _of_frames(row: Scores, none: Scores) -> np.ndarray:
    """F of each key, (k,)."""
    differences = row.drawn.astype(float) - none.drawn
    differences[np.isnan(differences).all(axis=-1)] = 0  # a class that no frame shows
    total = np.nanvar(differences, axis=-1)
    own = np.array([row.own, none.own], float)
    own = np.where(np.isnan(own), own[::-1], own)  # of one seed it is taken to be the other row's
    seeds = np.array([[len(row.of_seeds)], [len(none.of_seeds)]])
    return np.maximum(0.0, total - np.nan_to_num(own / seeds).sum(0))


def _over_seeds(row: Scores, none: Scores, k: int, prior: Prior | None, fixed: bool) -> list[tuple]:
    """The parts of the gain's variance that are the seeds', each with its degrees of freedom."""
    moving = (none,) if fixed else (row, none)
    sides = [(side.variance[k], side.freedom) for side in moving]
    seeds = [len(side.of_seeds) for side in moving]
    if prior:  # both lean on it, so their errors are not independent: the fewer degrees count
        sides = [prior.moderate(*side) for side in sides]
        total = sum(v / n for (v, _), n in zip(sides, seeds, strict=True))
        return [(total, min(freedom for _, freedom in sides))]
    if 1 in seeds:  # one variance for both, if any
        variance, freedom = max(sides, key=lambda side: side[1])
        return [(variance * sum(1 / n for n in seeds), freedom or np.inf)]
    return [(v / n, freedom) for (v, freedom), n in zip(sides, seeds, strict=True)]


def _satterthwaite(parts: Sequence[tuple], variance: float) -> float:
    """Degrees of freedom of a sum of variances; F's are infinite."""
    spread = sum(part**2 / freedom for part, freedom in parts)
    return float(variance**2 / spread) if spread > 0 else np.inf


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for looking at all of them (Holm 1979), in the order given."""
    order = np.argsort(p, kind="stable")
    corrected, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected
