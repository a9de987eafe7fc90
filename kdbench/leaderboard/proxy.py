"""Does a short, small or other training order methods as a long one does?

For two tables that differ in one thing (steps, ratio or detector): Kendall's tau-b of the gains of
the methods that both have, with an interval over methods; of the pairs of methods whose means in
the second table differ by more than noise, the share that the first orders alike; and the ceiling,
tau between halves of the second table's own seeds: no proxy can be expected to do better.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean

import numpy as np

from kdbench.evaluation.filled_ap import METRICS
from kdbench.leaderboard.columns import Column, number
from kdbench.leaderboard.rank import FEWEST, kendall, over_methods
from kdbench.leaderboard.rows import TABLE, Row, table_key

DIFFERENCES = ("steps", "ratio", "detector")
FREE = {"steps": (), "ratio": ("teacher",), "detector": ("teacher", "network", "steps")}
SPLITS = 200
ERRORS = 1.96  # standard errors of a difference that is more than noise
EXPLANATION = """
Does the first table order methods as the second does? tau: Kendall's tau-b of gains, 1: the same
order, 0: no relation, with its 95 % interval over methods. alike: of the pairs of methods that
differ by more than noise in the second table, the share that the first puts in the same order.
ceiling: tau between halves of the second table's seeds, which nothing can be expected to beat.
""".strip().replace("\n", " ")
COLUMNS = {
    "tables": Column("tables", lambda line: line["tables"]),
    "metric": Column("metric", lambda line: METRICS[line["metric"]]),
    "tau": Column("value", lambda line: f"{line['value']:.2f}"),
    "95 %": Column("low", lambda line: f"{line['low']:.2f}..{line['high']:.2f}"),
    "methods": Column("methods", lambda line: str(line["methods"])),
    "alike": Column("alike", lambda line: number(line["alike"], ".0%")),
    "pairs": Column("pairs", lambda line: str(line["pairs"])),
    "ceiling": Column("ceiling", lambda line: number(line["ceiling"], ".2f")),
}


def proxies(rows: Sequence[Row]) -> list[Row]:
    """A line a pair of tables and a metric: `tables` in words, and what COLUMNS name."""
    tables: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        tables[table_key(row)].append(row)
    lines = []
    for first, second in combinations(sorted(tables.values(), key=_length), 2):
        what = difference(first[0], second[0])
        for metric in METRICS if what else ():
            if found := _compared(first, second, metric):
                words = f"{_short(first[0], what)} to {_short(second[0], what)}"
                lines.append({"tables": words, "metric": metric} | found)
    return lines


def difference(a: Row, b: Row) -> str | None:
    """The one thing in which two tables differ; None for equal ones, or more than one thing.

    What follows from it is no difference: another ratio has another teacher.
    """
    differing = {key for key in TABLE if a[key] != b[key]}
    return next((w for w in DIFFERENCES if w in differing and differing <= {w, *FREE[w]}), None)


def _length(table: Sequence[Row]) -> tuple:
    return table[0]["steps"], table[0]["ratio"], table[0]["detector"]


def _short(row: Row, what: str) -> str:
    place = f"{row['detector']} x{row['ratio']:g}"
    return f"{place}, {row['steps']:,} steps" if what == "steps" else place


def _compared(first: Sequence[Row], second: Sequence[Row], metric: str) -> Row | None:
    ours, theirs = ({r["label"]: r for r in t if _is_method(r, metric)} for t in (first, second))
    both = [(ours[name], theirs[name]) for name in ours if name in theirs]
    gains = np.array([[row[f"{metric}_gain"] for row in pair] for pair in both])
    found = over_methods(gains, kendall)
    if found is None:
        return None
    alike = _alike(both, metric)
    return found | {
        "alike": fmean(alike) if alike else None,
        "pairs": len(alike),
        "ceiling": ceiling([row[f"{metric}_map_seeds"] for _, row in both]),
    }


def _is_method(row: Row, metric: str) -> bool:
    return row["method"] not in ("none", "teacher") and row[f"{metric}_gain"] is not None


def _alike(both: Sequence[tuple[Row, Row]], metric: str) -> list[bool]:
    """Of each pair of methods that differ in the second table, whether the first agrees."""
    key, error = f"{metric}_map", f"{metric}_map_error"
    found = []
    for (a, long_a), (b, long_b) in combinations(both, 2):
        if long_a[error] is None or long_b[error] is None:
            continue
        difference = long_a[key] - long_b[key]
        if abs(difference) > ERRORS * np.hypot(long_a[error], long_b[error]):
            found.append((a[key] - b[key]) * difference > 0)
    return found


def ceiling(seeds: Sequence[Sequence[float]]) -> float | None:
    """Mean tau between means over random halves of each row's seeds.

    Rows of one seed are left out; None where fewer than FEWEST methods have two.
    """
    several = [np.array(values) for values in seeds if len(values) > 1]
    if len(several) < FEWEST:
        return None
    rng = np.random.default_rng(0)

    def halves(values: np.ndarray) -> tuple[float, float]:
        drawn = rng.permutation(values)
        return drawn[::2].mean(), drawn[1::2].mean()

    return fmean(kendall(np.array([halves(v) for v in several])) for _ in range(SPLITS))
