"""Training curves, from the logs that runs leave in the cache."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdbench.leaderboard.columns import known
from kdbench.leaderboard.rows import Row

NOT_LOSSES = {"step", "lr", "grad_norm"}
SMOOTHED = 0.1  # over this share of a training
BEST = 3

# A run's hash -> the path of its log, there or not.
LogPath = Callable[[str], Path]


@dataclass(frozen=True)
class Curve:
    """The detection loss of one run over its training."""

    row: int  # which row of the table
    steps: np.ndarray  # (n,)
    losses: np.ndarray  # (n,) sum of the detector's terms, smoothed


def training_curves(rows: list[Row], log_path: LogPath) -> list[Curve]:
    """Curves of the runs of `chosen` that have a log, each of the row's first run.

    What belongs to the detection loss is known from a training without distillation. Empty
    without the log of one.
    """
    numbers = chosen(rows)
    entries = {n: read_log(log_path(rows[n]["hashes"][0])) for n in numbers}
    plain = next((e for n, e in entries.items() if e and _undistilled(rows[n])), None)
    if plain is None:
        return []
    terms = set(plain[0]) - NOT_LOSSES
    return [
        Curve(n, np.array([e["step"] for e in found]), smooth(_totals(found, terms)))
        for n, found in entries.items()
        if found and all(terms <= set(entry) for entry in found)
    ]


def chosen(rows: list[Row]) -> list[int]:
    """Numbers of the rows worth a curve: teacher and `none`, the best methods and the worst."""
    plain = [n for n, row in enumerate(rows) if _undistilled(row)]
    methods = [n for n, r in enumerate(rows) if not _undistilled(r) and known(r["bev_map"])]
    methods.sort(key=lambda n: -rows[n]["bev_map"])
    return plain + list(dict.fromkeys([*methods[:BEST], *methods[-1:]]))


def read_log(path: Path) -> list[dict[str, float]]:
    """The entries of a log; empty when it is not there. A line that was cut short is left out."""
    entries = []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return [e for e in entries if isinstance(e, dict) and "step" in e]


def smooth(values: np.ndarray, share: float = SMOOTHED) -> np.ndarray:
    """Means over a window around each value, narrower towards the ends: the same length."""
    half = int(len(values) * share / 2)
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    reach = np.minimum(half, np.minimum(at, len(values) - 1 - at))  # the same to both sides
    return (total[at + reach + 1] - total[at - reach]) / (2 * reach + 1)


def _totals(entries: list[dict[str, float]], terms: set[str]) -> np.ndarray:
    return np.array([sum(entry[term] for term in terms) for entry in entries], np.float64)


def _undistilled(row: Row) -> bool:
    return row["method"] in ("none", "teacher")
