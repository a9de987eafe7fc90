"""One order of methods over all tables: detectors, ratios and numbers of steps.

A method's figure is the mean share of the teacher's lead over `none` that it recovers, over the
tables that it is in and where the lead is LEAST_LEAD points or more. Its interval comes from
drawing tables with replacement and, in each, gains around themselves by their standard errors;
`first` is how often a method has the highest mean in a draw.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from kdbench.leaderboard.gains import LEVEL
from kdbench.leaderboard.rows import Row, table_key

LEAST_LEAD = 3.0  # points of mAP
DRAWS = 1000


def overall(tables: Sequence[Sequence[Row]], metric: str) -> list[Row]:
    """Methods from the best to the worst; fewer than two tables give no order.

    Keys: `method` (the row's label), `share`, `low`, `high`, `tables` (how many), `first` (0..1).
    """
    usable = [(lead, table) for table in tables if (lead := _lead(table, metric)) >= LEAST_LEAD]
    if len(usable) < 2:
        return []
    shares, errors = (defaultdict(dict) for _ in range(2))  # by method, by number of table
    for number, (lead, table) in enumerate(usable):
        for row in table:
            gain, error = row[f"{metric}_gain"], row[f"{metric}_gain_error"]
            if row["method"] not in ("none", "teacher") and gain is not None:
                shares[row["label"]][number] = gain / lead
                errors[row["label"]][number] = (error or 0.0) / lead
    names = list(shares)
    if not names:
        return []
    drawn = np.stack([_draws(shares[n], errors[n], len(usable), i) for i, n in enumerate(names)])
    best = np.where(np.isnan(drawn), -np.inf, drawn).argmax(axis=0)
    rows = []
    for i, name in enumerate(names):
        known = drawn[i][~np.isnan(drawn[i])]
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        rows.append({
            "method": name, "share": float(np.mean(list(shares[name].values()))),
            "low": float(low), "high": float(high), "tables": len(shares[name]),
            "first": float((best == i).mean()),
        })  # fmt: skip
    return sorted(rows, key=lambda row: -row["share"])


def overall_table(rows: Sequence[Row], metric: str) -> list[dict[str, str]]:
    """The order of all tables of a leaderboard as text, a dictionary a line."""
    tables: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        tables[table_key(row)].append(row)
    return [
        {
            "method": row["method"],
            "recovered": f"{row['share']:.0%}",
            "95 %": f"{row['low']:.0%}..{row['high']:.0%}",
            "tables": str(row["tables"]),
            "first": f"{row['first']:.0%}",
        }
        for row in overall(list(tables.values()), metric)
    ]


def _lead(table: Sequence[Row], metric: str) -> float:
    """What a table's teacher has over its `none`, in points; 0 where one of them is absent."""
    by_method = {row["method"]: row[f"{metric}_map"] for row in table}
    if not {"teacher", "none"} <= by_method.keys():
        return 0.0
    return by_method["teacher"] - by_method["none"]


def _draws(shares: dict[int, float], errors: dict[int, float], tables: int, stream: int):
    """Mean shares (DRAWS,) over drawn tables; NaN where none of a method's was drawn.

    All methods see the same tables in a draw, and other luck.
    """
    counts = np.random.default_rng(0).multinomial(tables, np.full(tables, 1 / tables), DRAWS)
    numbers = list(shares)
    value, error = (np.array([own[n] for n in numbers]) for own in (shares, errors))
    luck = np.random.default_rng([1, stream]).normal(size=(DRAWS, len(numbers)))
    weight = counts[:, numbers]
    total = weight.sum(axis=1)
    mean = (weight * (value + error * luck)).sum(axis=1) / np.maximum(total, 1)
    return np.where(total > 0, mean, np.nan)
