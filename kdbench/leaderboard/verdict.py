"""What a table as a whole can and cannot say."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from kdbench.evaluation.filled_ap import METRICS
from kdbench.leaderboard.gains import Gain, gains
from kdbench.leaderboard.scores import Scores
from kdbench.registry import methods as registry
from kdbench.runs.tuned import is_switched_down

Row = dict[str, Any]
ERRORS_AHEAD = 2  # standard errors by which a teacher must lead


def set_verdict(
    rows: Sequence[Row], plain: Sequence[Row], scores_of: Callable[[Sequence[str]], Scores | None]
) -> None:
    """Sets `table` of all rows of one table, judged before (`significance.py`).

    `plain` are the rows of `none` at all numbers of steps. `table` holds `smallest_gain`, by metric
    the gain that would be seen in four of five such tables at a level of 5 %, before and after
    correction for the number of methods (medians over the rows, frames' part included), and
    `notes`: what a reader must know before the figures.
    """
    methods = [r for r in rows if r["role"] == "student" and r["method"] != "none"]
    seen = {metric: _smallest(methods, metric) for metric in METRICS}
    notes = [f"Smallest gain it can see, {METRICS[m]}: {_two(s)} mAP" for m, s in seen.items() if s]
    by_steps = {row["steps"]: row for row in plain}
    notes += _teacher_is_behind(rows, by_steps, scores_of) + _head_starts(methods, by_steps)
    notes += _switched_down(methods)
    if methods and len(by_steps) < 2:
        notes.append("No ladder of `none` at other numbers of steps: what gains are worth is open")
    for row in rows:
        row["table"] = {"smallest_gain": seen, "notes": notes, "real_rank": {}}


def _switched_down(methods: Sequence[Row]) -> list[str]:
    """A note on methods whose factor is small because no factor was better than none at all."""
    found = []
    for row in methods:
        options = row["options"]
        if row["method"] in registry.names() and is_switched_down(
            row["detector"], row["method"], options["scale"], options.get("variant")
        ):
            found.append(f"{row['label']} ({options['scale']:g})")
    if not found:
        return []
    return [
        "Switched down, since on held-out training frames no factor on the loss was better than 0: "
        f"{', '.join(found)}"
    ]


def _smallest(methods: Sequence[Row], metric: str) -> dict[str, float] | None:
    keys = [f"{metric}_gain_{end}" for end in ("error", "freedom")]
    known = [Gain(0.0, *(row[key] for key in keys), 0.0) for row in methods if row.get(keys[0])]
    if not known:
        return None
    return {
        name: median(gain.smallest_seen(looks) for gain in known)
        for name, looks in (("one", 1), ("all", len(methods)))
    }


def _two(smallest: dict[str, float]) -> str:
    return f"{smallest['one']:.1f} (one method), {smallest['all']:.1f} (the best of all)"


def _teacher_is_behind(rows, by_steps: dict[int, Row], scores_of) -> list[str]:
    """A note where longer training without distillation is as good as the teacher."""
    teacher = next((row for row in rows if row["role"] == "teacher"), None)
    if teacher is None or not by_steps:
        return []
    steps, none = max(by_steps.items())
    lead = gains(scores_of(teacher["hashes"]), scores_of(none["hashes"]), {}, fixed=True)
    behind = [
        METRICS[metric]
        for metric in METRICS
        if (gain := lead.get(f"{metric}_map")) and gain.value < ERRORS_AHEAD * gain.error
    ]
    if not behind:
        return []
    return [
        f"The teacher is not ahead of `none` at {steps:,} steps by two standard errors "
        f"({' and '.join(behind)}): it has little to teach"
    ]


def _head_starts(methods: Sequence[Row], by_steps: dict[int, Row]) -> list[str]:
    """A note where twice the steps of `none` still bring more than the median method."""
    found = []
    for metric in METRICS:
        known = [row[f"{metric}_gain"] for row in methods if row[f"{metric}_gain"] is not None]
        steps = methods[0]["steps"] if methods else 0
        if not known or steps not in by_steps or 2 * steps not in by_steps:
            continue
        more = by_steps[2 * steps][f"{metric}_map"] - by_steps[steps][f"{metric}_map"]
        if more > median(known):
            found.append(f"{more:+.1f} {METRICS[metric]} (median gain {median(known):+.1f})")
    if not found:
        return []
    return [f"These are head starts: twice the steps without distillation bring {', '.join(found)}"]
