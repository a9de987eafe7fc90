"""What a method is worth in steps of plain training, and what that leaves after its cost.

Longer training without distillation is the rival of every method. `none` at several numbers of
steps is a ladder of mAP over steps; a method's worth is the steps at which that ladder reaches its
mAP, divided by its own steps. The ladder is made to rise (isotonic regression: more steps are no
worse) and is read linearly in the logarithm of the steps. Beyond its ends nothing is known but
that: a worth at an end is a bound. Net = worth / cost, cost being a step against a plain one: below
1 a method is a slower way of training for longer.

The interval is over seeds: all means are drawn anew around themselves by their standard errors
(moderated by the table's variances), and the worth is read off each draw.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from kdbench.evaluation.filled_ap import METRICS
from kdbench.leaderboard.gains import LEVEL

Row = dict[str, Any]
DRAWS = 1000
LEAST_RUNGS = 2
KEYS = ("worth", "worth_low", "worth_high", "worth_end", "net")


@dataclass(frozen=True)
class Ladder:
    """mAP of `none` over steps, as measured (row 0) and as drawn (the others)."""

    steps: np.ndarray  # (r,) ascending
    ap: np.ndarray  # (1 + DRAWS, r), each row rising

    @classmethod
    def of(cls, rungs: Sequence[tuple[int, float, float]]) -> "Ladder":
        """From steps, mean mAP and its standard error of each rung."""
        steps, mean, error = (
            np.array(column, float) for column in zip(*sorted(rungs), strict=True)
        )
        drawn = mean + error * _normals(len(steps))
        return cls(steps, np.stack([isotonic_regression(row).x for row in drawn]))

    def reached(self, ap: float, error: float) -> np.ndarray:
        """Steps (1 + DRAWS,) at which it reaches an mAP with this standard error.

        Never before its first step or behind its last.
        """
        wanted = ap + error * _normals(1, stream=1)[:, 0]
        logs = np.log(self.steps)
        found = [_first(row, logs, value) for row, value in zip(self.ap, wanted, strict=True)]
        return np.exp(found)


def _first(rising: np.ndarray, logs: np.ndarray, value: float) -> float:
    """Where a piecewise linear, rising curve first has a value, kept to its ends."""
    k = int(np.searchsorted(rising, value))
    if k in (0, len(rising)):
        return logs[0] if k == 0 else logs[-1]
    share = (value - rising[k - 1]) / (rising[k] - rising[k - 1])
    return logs[k - 1] + share * (logs[k] - logs[k - 1])


def _normals(columns: int, stream: int = 0) -> np.ndarray:
    """(1 + DRAWS, columns): zeros, and draws that are always the same."""
    drawn = np.random.default_rng([columns, stream]).normal(size=(DRAWS, columns))
    return np.concatenate([np.zeros((1, columns)), drawn])


def set_worth(rows: Sequence[Row], ladder_of: Callable[[Row], Hashable]) -> None:
    """Sets `bev_worth`, `_low`, `_high`, `bev_worth_end` and `bev_net` (and 3D's) of all rows.

    `ladder_of` tells of a row which rows of `none` are its ladder: those of the same key.
    `bev_worth_end` is "below" or "beyond" where the ladder ends before it reaches the row's mAP;
    the worth then is a bound. None without a ladder, and for teachers.
    """
    rungs: dict[Hashable, dict[int, Row]] = defaultdict(dict)
    for row in rows:
        if row["method"] == "none":
            rungs[ladder_of(row)][row["steps"]] = row
    ladders = {
        (key, metric): Ladder.of([_rung(row, metric) for row in own.values()])
        for key, own in rungs.items()
        for metric in METRICS
        if len(own) >= LEAST_RUNGS
    }
    for row in rows:
        for metric in METRICS:
            ladder = ladders.get((ladder_of(row), metric))
            known = ladder is not None and row["role"] == "student"
            found = _worth(row, ladder, metric) if known else {}
            row |= {f"{metric}_{key}": found.get(key) for key in KEYS}


def _rung(row: Row, metric: str) -> tuple[int, float, float]:
    return row["steps"], row[f"{metric}_map"], row[f"{metric}_map_error"] or 0.0


def _worth(row: Row, ladder: Ladder, metric: str) -> Row:
    own, ap, error = _rung(row, metric)
    times = ladder.reached(ap, error) / own
    low, high = np.quantile(times[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    plain, cost = ladder.ap[0], row["cost"]
    return {
        "worth": float(times[0]),
        "worth_low": float(low),
        "worth_high": float(high),
        "worth_end": "below" if ap < plain[0] else "beyond" if ap > plain[-1] else None,
        "net": float(times[0] / cost) if cost else None,
    }
