"""Which gains of a table are more than noise, all of them looked at together."""

from typing import Any

from kdbench.evaluation.resample import METRICS
from kdbench.leaderboard.bootstrap import LEVEL, holm, paired_intervals
from kdbench.runs.records import Record

Row = dict[str, Any]


def gain_intervals(runs: list[Record], baselines: list[Record | None]) -> Row:
    """Intervals and p-values of a row's gains: on average, and of each class.

    Keys: `bev_gain_low`, `bev_gain_high`, `bev_gain_p`; `bev_car_gain`, `bev_car_gain_low`, ...
    None where a baseline or resampled AP is missing.
    """
    found = {} if None in baselines else paired_intervals(runs, baselines)
    row: Row = {}
    for metric in METRICS:
        interval = found.get(f"{metric}_map")
        for end in ("low", "high", "p"):
            row[f"{metric}_gain_{end}"] = getattr(interval, end) if interval else None
    for key, interval in found.items():
        if not key.endswith("_map"):
            row[f"{key}_gain"] = interval.value
            row |= {f"{key}_gain_{end}": getattr(interval, end) for end in ("low", "high")}
    return row


def is_within_noise(runs: list[Record], baselines: list[Record]) -> dict[str, bool]:
    """Whether the interval of a difference in mAP holds zero, by metric; empty without one."""
    found = paired_intervals(runs, baselines)
    return {m: not found[f"{m}_map"].significant for m in METRICS if f"{m}_map" in found}


def judge(rows: list[Row]) -> None:
    """Sets `bev_significant` and `bev_rank` (and those of 3D) of each row of one table.

    A gain is significant when its p-value, corrected for all methods of the table (Holm), is below
    5 %. A method's rank is one more than the number of methods whose interval lies above its own:
    methods that overlap share a rank. None where there is no interval.
    """
    for metric in METRICS:
        _judge_metric(rows, metric)


def _judge_metric(rows: list[Row], metric: str) -> None:
    p, low, high = (f"{metric}_gain_{end}" for end in ("p", "low", "high"))
    for row in rows:
        row[f"{metric}_significant"] = row[f"{metric}_rank"] = None
    judged = [r for r in rows if r.get(p) is not None and r["method"] not in ("none", "teacher")]
    for row, corrected in zip(judged, holm([r[p] for r in judged]), strict=True):
        row[f"{metric}_significant"] = corrected < 1 - LEVEL
        row[f"{metric}_rank"] = 1 + sum(other[low] > row[high] for other in judged)
