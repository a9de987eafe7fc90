"""Methods by detectors: what was run, what it gained, and what cannot be run at all."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kdbench.leaderboard.columns import COLUMNS
from kdbench.leaderboard.rows import Row

NOT_APPLICABLE, NOT_RUN = "n/a", "·"
KEY = ("dataset", "fingerprint", "profile", "steps", "device")

# Method -> the detectors that have what it needs.
Applicable = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Matrix:
    """One data set, profile, number of steps and device."""

    title: str
    columns: tuple[str, ...]  # detector and ratio
    lines: tuple[tuple[str, tuple[str, ...]], ...]  # a method with its cells


def matrices(rows: Sequence[Row], applicable: Applicable) -> list[Matrix]:
    """A matrix for each data set, profile, number of steps and device.

    A cell is the gain in BEV mAP, NOT_APPLICABLE or NOT_RUN. Methods of `applicable` that were
    not run have a line too; those that are unknown there count as applicable.
    """
    groups: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        if row["method"] not in ("teacher", "none"):
            groups[tuple(row[k] for k in KEY)] += [row]
    return [_matrix(key, group, applicable) for key, group in groups.items()]


def _matrix(key: tuple, rows: list[Row], applicable: Applicable) -> Matrix:
    dataset, fingerprint, profile, steps, device = key
    columns = list(dict.fromkeys(map(_column, rows)))
    cells = {(row["label"], *_column(row)): COLUMNS["gain"].show(row) for row in rows}
    labels = {row["label"]: row["method"] for row in rows}
    run = set(labels.values())
    labels |= {name: name for name in applicable if name not in run and name != "none"}

    def cell(label: str, detector: str, *rest) -> str:
        found = cells.get((label, detector, *rest))
        fits = detector in applicable.get(labels[label], [detector])
        return found or (NOT_RUN if fits else NOT_APPLICABLE)

    lines = [(name, tuple(cell(name, *column) for column in columns)) for name in sorted(labels)]
    return Matrix(
        title=f"{dataset} {fingerprint}, {profile}, {steps:,} steps, {device}",
        columns=tuple(f"{detector} x{ratio:g}" for detector, ratio, *_ in columns),
        lines=tuple(lines),
    )


def _column(row: Row) -> tuple:
    """What a column stands for: detector, ratio, and what else tells two tables apart."""
    return tuple(row[k] for k in ("detector", "ratio", "network", "precision", "teacher"))
