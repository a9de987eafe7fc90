"""Which gains of a table are more than noise, all of them looked at together."""

from collections.abc import Callable, Sequence
from typing import Any

from kdbench.evaluation.filled_ap import METRICS
from kdbench.leaderboard.gains import LEVEL, Gain, Priors, errors_over_seeds, gains, holm, priors
from kdbench.leaderboard.scores import Scores

Row = dict[str, Any]
ScoresOf = Callable[[Sequence[str]], Scores | None]  # from the hashes of a row's runs

ENDS = ("low", "high", "p", "error", "freedom")
# Recovering a share of a gap means nothing when there is hardly a gap, in points of mAP.
LEAST_GAP = 1.0


def judge(rows: list[Row], scores_of: ScoresOf) -> None:
    """Sets what the gains of one table's rows amount to, for BEV and 3D.

    `bev_map_error`: the mean's standard error over seeds. `bev_gain_low`, `_high`, `_p`, `_error`
    and `_freedom`: the gain's interval, p-value, standard error and degrees of freedom
    (`gains.py`); interval and gain of each class too, as `bev_car_gain`.
    `bev_significant`: whether the p-value, corrected for all methods of the table (Holm), is below
    5 %. `bev_rank`: one more than the number of methods whose interval lies above its own; methods
    that overlap share a rank. `bev_recovered`: the gain as a share of what the teacher has over
    `none`, None where that is little or within noise. None where there is no interval.
    """
    scores = {id(row): scores_of(row["hashes"]) for row in rows}
    known = table_priors(rows, scores_of)
    for row in rows:
        none = scores_of(row["none"]) if row["none"] else None
        own = {} if row["role"] == "teacher" else gains(scores[id(row)], none, known)
        _set_gains(row, own)
        errors = errors_over_seeds(scores[id(row)], known)
        row |= {f"{metric}_map_error": errors.get(f"{metric}_map") for metric in METRICS}
    for metric in METRICS:
        _judge_metric(rows, metric)
    _set_recovered(rows, known, scores_of)


def table_priors(rows: Sequence[Row], scores_of: ScoresOf) -> Priors:
    """What the students of a table tell about variances over seeds."""
    known = [s for r in rows if r["role"] == "student" and (s := scores_of(r["hashes"]))]
    return priors(row for row in known if row.frames == known[0].frames)


def _set_gains(row: Row, found: dict[str, Gain]) -> None:
    itself = row["hashes"] == row["none"]
    for metric in METRICS:
        gain = found.get(f"{metric}_map")
        row |= {f"{metric}_gain_{end}": getattr(gain, end, None) for end in ENDS}
        if gain and itself:
            row |= {f"{metric}_gain_{end}": 0.0 for end in ("low", "high")}
    for key, gain in found.items():
        if not key.endswith("_map") and not itself:
            row[f"{key}_gain"] = gain.value
            row |= {f"{key}_gain_{end}": getattr(gain, end) for end in ("low", "high")}


def _judge_metric(rows: list[Row], metric: str) -> None:
    p, low, high = (f"{metric}_gain_{end}" for end in ("p", "low", "high"))
    for row in rows:
        row[f"{metric}_significant"] = row[f"{metric}_rank"] = None
    judged = [r for r in rows if r.get(p) is not None and r["method"] not in ("none", "teacher")]
    for row, corrected in zip(judged, holm([r[p] for r in judged]), strict=True):
        row[f"{metric}_significant"] = corrected < 1 - LEVEL
        row[f"{metric}_rank"] = 1 + sum(other[low] > row[high] for other in judged)


def _set_recovered(rows: list[Row], known: Priors, scores_of: ScoresOf) -> None:
    """Sets each row's gain as a share of what the table's teacher has over the row's `none`."""
    teacher = next((row for row in rows if row["role"] == "teacher"), None)
    leads: dict[tuple, dict[str, Gain]] = {}  # by the runs of `none`: most rows have the same
    for row in rows:
        for metric in METRICS:
            gap, gain = None, row[f"{metric}_gain"]
            if teacher is not None and row is not teacher and gain is not None:
                none = tuple(row["none"])
                if none not in leads:
                    leads[none] = gains(
                        scores_of(teacher["hashes"]), scores_of(none), known, fixed=True
                    )
                gap = teacher[f"{metric}_map"] - (row[f"{metric}_map"] - gain)
                lead = leads[none].get(f"{metric}_map")
                gap = None if gap < LEAST_GAP or (lead and not lead.significant) else gap
            row[f"{metric}_recovered"] = gain / gap if gap else None
