"""Do a folder's rows agree with the published rows of the same runs but for the seed?

A row of m seeds is to lie within the prediction interval of n published ones,

    mean +- t_0.975(n - 1) s sqrt(1 / m + 1 / n)

with the published seeds' standard deviation s: 19 of 20 rows of the same training do.
"""

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import Any

from scipy import special

from kdbench.evaluation.filled_ap import METRICS
from kdbench.leaderboard.gains import LEVEL
from kdbench.leaderboard.runs import row_key
from kdbench.runs.records import Record
from kdbench.runs.spec import RunSpec

Row = dict[str, Any]


def add_notes(rows: Sequence[Row], own: Iterable[Record], published: Iterable[Record]) -> None:
    """Adds a line for each row that is published too to the notes of its table."""
    theirs: dict[str, list[Record]] = {}
    for record in published:
        theirs.setdefault(row_key(RunSpec.from_dict(record["spec"])), []).append(record)
    keys = {record["hash"]: row_key(RunSpec.from_dict(record["spec"])) for record in own}
    for row in rows:
        known = theirs.get(keys.get(row["hashes"][0], ""), [])
        itself = {record["hash"] for record in known} == set(row["hashes"])
        if row["role"] == "student" and len(known) > 1 and not itself:
            row["table"]["notes"].append(_note(row, known))


def _note(row: Row, published: Sequence[Record]) -> str:
    parts, agrees = [], []
    for metric, name in METRICS.items():
        value = row[f"{metric}_map"]
        low, high = predicted([r["metrics"][f"{metric}_map"] for r in published], len(row["seeds"]))
        parts.append(f"{value:.1f} {name} ({low:.1f}..{high:.1f})")
        agrees.append(low <= value <= high)
    verb = "agrees with" if all(agrees) else "is not what was published:"
    seeds = "seed" if len(row["seeds"]) == 1 else "seeds"
    return (
        f"{row['label']}, {len(row['seeds'])} {seeds}, {verb} the {len(published)} published runs "
        f"of it: {', '.join(parts)}; in brackets where 19 of 20 such rows lie"
    )


def predicted(values: Sequence[float], seeds: int) -> tuple[float, float]:
    """Where the mean of so many other seeds lies with LEVEL, given two values or more."""
    quantile = float(special.stdtrit(len(values) - 1, (1 + LEVEL) / 2))
    half = quantile * stdev(values) * (1 / seeds + 1 / len(values)) ** 0.5
    return fmean(values) - half, fmean(values) + half
