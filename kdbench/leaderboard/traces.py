"""How a method's loss pulled at the students of traced runs, see `training/pull.py`."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from kdbench.runs.moments import MOMENTS, traced_step
from kdbench.runs.records import Record

Row = dict[str, Any]


def traces(group: Sequence[Record]) -> Row:
    """`pull_reached`, `pull_parts`, `pull_share_0` to `pull_share_7`, `pull_cosine_early` and
    `pull_cosine_late`; None where no run of the row was traced.
    """
    seen = [_by_moment(r) for r in group if r["training"].get("trace")]
    shares = [_mean("share", [each[i] for each in seen]) for i in range(len(MOMENTS))]
    half = len(MOMENTS) // 2
    reaching = [parts for each in seen for parts in each if parts]
    names = dict.fromkeys(name for parts in reaching for name in parts if name != "all")
    return {
        "pull_reached": max((p["all"]["reached"] for p in reaching), default=None),
        "pull_parts": ", ".join(names) or None,
        **{f"pull_share_{i}": share for i, share in enumerate(shares)},
        "pull_cosine_early": _mean("cosine", [p for each in seen for p in each[:half]]),
        "pull_cosine_late": _mean("cosine", [p for each in seen for p in each[half:]]),
    }


def _by_moment(record: Record) -> list[dict]:
    """The parts of a trace at each moment; none where the loss had no gradient then."""
    found = {entry["step"]: entry["parts"] for entry in record["training"]["trace"]}
    steps = record["spec"]["train"]["steps"]
    return [found.get(traced_step(moment, steps), {}) for moment in MOMENTS]


def _mean(key: str, parts: Sequence[dict]) -> float | None:
    values = [v for p in parts if p and (v := p["all"][key]) is not None]
    return fmean(values) if values else None
