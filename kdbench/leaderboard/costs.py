"""What a row's runs cost: the network, its latency, and its training."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from kdbench.runs.records import Record

Row = dict[str, Any]


def costs(group: Sequence[Record]) -> Row:
    """Sizes of the first run, latencies as means over the runs."""
    cost = group[0]["cost"]
    p50 = mean(r["latency"]["p50"] for r in group)
    bev = fmean(r["metrics"]["bev_map"] for r in group)
    return {
        "parameters": cost["parameters"],
        "method_parameters": cost["method_parameters"],
        "macs": cost["macs"],
        "ratio_parameters": cost["ratio"]["parameters"],
        "ratio_macs": cost["ratio"]["macs"],
        "latency_p50_ms": p50,
        "latency_p90_ms": mean(r["latency"]["p90"] for r in group),
        # Cores that other programs used meanwhile, in the worst of the runs.
        "latency_contention": max((r["latency"].get("contention") or 0.0) for r in group),
        "map_per_ms": bev / p50 if p50 else None,
    }


def training(group: Sequence[Record], baselines: Sequence[Record], teachers) -> Row:
    """Cost of training, also against `none`: that of the runs, and with their teachers' too.

    `teachers`: of each run the record of the training that its method learned from; None where
    it needs none. Where that record is absent, the list is None.
    """
    step = mean(r["training"]["seconds_per_step"] for r in group)
    plain = mean(b["training"]["seconds_per_step"] for b in baselines)
    own, base = (_seconds(x) for x in (group, baselines))
    peaks = [r["training"]["peak_memory_bytes"] for r in group]  # None of an imported teacher
    taught = None if teachers is None else _seconds([t for t in teachers if t], nothing=0.0)
    return {
        "seconds_per_step": step,
        "step_against_none": _ratio(step, plain),
        "training_against_none": _ratio(own, base),
        "training_with_teacher": _ratio(_sum(own, taught), base),
        "training_seconds": mean(r["training"]["seconds"] for r in group),
        "peak_memory_bytes": max(filter(None, peaks), default=None),
    }


def mean(values) -> float | None:
    """The mean of what is there."""
    values = [v for v in values if v is not None]
    return fmean(values) if values else None


def _seconds(records: Sequence[Record], nothing: float | None = None) -> float | None:
    """Steps times the median seconds of one, mean over trainings; breaks are left out.

    A stage of the method's own before the training counts with it.
    """
    if not records:
        return nothing
    each = [r["training"]["seconds_per_step"] for r in records]
    return None if None in each else fmean(map(_seconds_of, records, each))


def _seconds_of(record: Record, step: float) -> float:
    before = record["training"].get("stage", {"seconds": 0.0})["seconds"]
    return step * record["spec"]["train"]["steps"] + before


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a and b else None
