"""The records of a folder as a leaderboard takes them."""

from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.evaluation.filled_ap import ap_of
from kdbench.runs.records import Record, check_hash, each_record
from kdbench.runs.settings import budget_of
from kdbench.runs.spec import RunSpec


def readable(results: Path, problems: list[str], budget: float | None = None) -> list[Record]:
    """The records of a folder, or those of a budget, without what no table shows.

    One that cannot be read, or is not of the run that its spec describes, is left out; a line
    about it is added to `problems`. Raises KdbenchError where there is no such folder.
    """
    records = []
    for record in each_record(results, problems):
        try:
            check_hash(record)
            if not _is_of(budget, record):
                continue
        except KdbenchError as error:
            problems.append(str(error))
        else:
            records.append(needed(record))
    return records


def needed(record: Record) -> Record:
    """The record without what no table shows: thousands of them are in memory at once."""
    metrics = record["metrics"]
    metrics["ap"] = ap_of(metrics)
    metrics.pop("kitti", None)
    record["latency"].pop("samples", None)
    return record


def _is_of(budget: float | None, record: Record) -> bool:
    """Whether a run is one of a budget, or a teacher."""
    spec = RunSpec.from_dict(record["spec"])
    own = budget_of(spec)
    return budget is None or spec.is_teacher or (own is not None and abs(own / budget - 1) < 0.01)
