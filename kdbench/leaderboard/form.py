"""The form of what a record holds for a leaderboard: a damaged one is left out, not shown."""

from collections.abc import Sequence

from kdbench.errors import KdbenchError, UsageError
from kdbench.evaluation.calibration_error import BINS
from kdbench.evaluation.resample import METRICS, unpack
from kdbench.leaderboard.behaviour import AGREEMENT
from kdbench.runs.records import Record
from kdbench.runs.validity import typed
from kdbench.storage.form import NUMBER, Each, Maybe, OrNone, misfit

_SOME = OrNone(NUMBER)
_BINS = {"count": [int], "right": [int], "score": [_SOME]}
_OF_METRIC = {"error": Each(_SOME), "bins": Each(_BINS)}
_SCORES = {
    "bev_map": NUMBER,
    "3d_map": NUMBER,
    "ap": dict.fromkeys(METRICS, Each(_SOME)),
    "agreement": Maybe(dict.fromkeys(AGREEMENT, Maybe(NUMBER))),
    "resamples": Maybe(
        {"frames": int, "metrics": [str], "classes": [str], "draws": int, "unit": NUMBER, "ap": str}
    ),
    "calibration": Maybe(dict.fromkeys(METRICS, _OF_METRIC)),
    "breakdown": Maybe({"bands": Each([str])} | dict.fromkeys(METRICS, {"mean": [_SOME]})),
}
_PULL = Each({"reached": NUMBER, "share": _SOME, "cosine": _SOME})
FORM = {
    "hash": str,
    "teacher": Maybe(str),
    "weights_sha256": Maybe(str),
    "date": Maybe(str),
    "metrics": _SCORES,
    "cost": {
        "parameters": NUMBER, "method_parameters": NUMBER, "macs": NUMBER,
        "ratio": {"parameters": NUMBER, "macs": NUMBER},
    },
    "latency": {"p50": _SOME, "p90": _SOME, "contention": Maybe(NUMBER)},
    "training": {
        "seconds_per_step": _SOME, "seconds": _SOME, "peak_memory_bytes": _SOME,
        "stage": Maybe({"steps": int, "seconds": NUMBER}),
        "trace": Maybe([{"step": int, "parts": _PULL}]),
    },
    "environment": Maybe(
        {"device": Maybe(str), "cpu": Maybe(str), "threads": Maybe(NUMBER), "commit": Maybe(str)}
    ),
    "transfer": Maybe([_SCORES | {"fingerprint": str, "split": str}]),
}  # fmt: skip


def check_form(record: Record) -> None:
    """Raises KdbenchError that names what in a record is not as `kdbench run` writes it."""
    if problem := misfit(record, FORM) or _torn(record) or _torn_trace(record):
        raise KdbenchError(f"{named(record)}: {problem}; it was changed by hand, or is damaged")
    try:
        typed(record["spec"])
    except UsageError as error:
        raise KdbenchError(f"{named(record)}: {error}") from None


def named(record: Record) -> str:
    """A record by its hash, which its file has in its name."""
    return f"record {record['hash']}"


def _torn(record: Record) -> str | None:
    """Which lists of a record's metrics, or of those on real frames, do not fit together."""
    each = (record["metrics"], *(record.get("transfer") or []))
    return next((problem for metrics in each if (problem := _torn_metrics(metrics))), None)


def _torn_metrics(metrics: dict) -> str | None:
    classes = set(metrics["ap"]["bev"])
    if set(metrics["ap"]["3d"]) != classes:
        return "metrics.ap has other classes from above than in space"
    if (drawn := metrics.get("resamples")) and not _unpacked(drawn, classes):
        return "metrics.resamples cannot be unpacked"
    for metric in METRICS:
        of_metric = (metrics.get("calibration") or {}).get(metric)
        if of_metric and not _calibrated(of_metric):
            return f"metrics.calibration.{metric} has lists of other lengths"
    bands = metrics.get("breakdown")
    if bands and {len(bands[m]["mean"]) for m in METRICS} != {
        sum(map(len, bands["bands"].values()))
    }:
        return "metrics.breakdown has lists of other lengths"
    return None


def _torn_trace(record: Record) -> str | None:
    parts = [entry["parts"] for entry in record["training"].get("trace") or []]
    torn = any(found and "all" not in found for found in parts)
    return "training.trace has parts without `all` of them" if torn else None


def _unpacked(drawn: dict, classes: Sequence[str]) -> bool:
    try:
        return set(drawn["classes"]) <= set(classes) and len(unpack(drawn)) == len(METRICS)
    except ValueError:
        return False


def _calibrated(found: dict) -> bool:
    lengths = {len(values) for bins in found["bins"].values() for values in bins.values()}
    return "mean" in found["error"] and lengths <= {BINS}
