"""What distilling costs, counted in steps of training without it."""

from kdbench.errors import KdbenchError
from kdbench.runs.records import Record


def extra_steps(plain: Record, distilled: Record, teacher: Record | None) -> int:
    """Steps that a student could train on for what it costs more to distil; see `longer`.

    Costs are medians of seconds a step, as the records of the three runs hold them. `teacher` is
    None when its training does not count. Raises KdbenchError when a record has no time of steps.
    """
    own, taught = _seconds(plain), _seconds(distilled)
    seconds = distilled["training"]["steps"] * max(0.0, taught - own)
    if teacher is not None:
        seconds += teacher["training"]["steps"] * _seconds(teacher)
    return max(1, round(seconds / own))


def _seconds(record: Record) -> float:
    """Median seconds a step."""
    seconds = record["training"]["seconds_per_step"]
    if not seconds:
        raise KdbenchError(
            f"run {record['hash']}: its record has no time of a step; repeat it with --force, "
            "or set train.extra_steps"
        )
    return seconds
