"""Methods by detectors: what was run, what it gained, and what cannot be run at all."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kdbench.leaderboard.columns import COLUMNS
from kdbench.leaderboard.rows import Row

NOT_APPLICABLE, NOT_RUN = "n/a", "·"

# Method -> the detectors that have what it needs.
Applicable = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Matrix:
    """One data set, profile and device."""

    title: str
    columns: tuple[str, ...]  # detector and ratio
    lines: tuple[tuple[str, tuple[str, ...]], ...]  # a method with its cells


def matrices(rows: Sequence[Row], applicable: Applicable) -> list[Matrix]:
    """A matrix for each data set, profile and device.

    A cell is the gain in BEV mAP, NOT_APPLICABLE or NOT_RUN. Methods of `applicable` that were
    not run have a line too; those that are unknown there count as applicable.
    """
    groups: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        if row["method"] not in ("teacher", "none"):
            groups[tuple(row[k] for k in ("dataset", "fingerprint", "profile", "device"))] += [row]
    return [_matrix(key, group, applicable) for key, group in groups.items()]


def _matrix(key: tuple, rows: list[Row], applicable: Applicable) -> Matrix:
    dataset, fingerprint, profile, device = key
    columns = list(dict.fromkeys((row["detector"], row["ratio"]) for row in rows))
    cells = {(r["label"], r["detector"], r["ratio"]): COLUMNS["gain"].show(r) for r in rows}
    labels = {row["label"]: row["method"] for row in rows}
    run = set(labels.values())
    labels |= {name: name for name in applicable if name not in run and name != "none"}

    def cell(label: str, detector: str, ratio: float) -> str:
        found = cells.get((label, detector, ratio))
        fits = detector in applicable.get(labels[label], [detector])
        return found or (NOT_RUN if fits else NOT_APPLICABLE)

    lines = [(name, tuple(cell(name, *column) for column in columns)) for name in sorted(labels)]
    return Matrix(
        title=f"{dataset} {fingerprint}, {profile}, {device}",
        columns=tuple(f"{detector} x{ratio:g}" for detector, ratio in columns),
        lines=tuple(lines),
    )
