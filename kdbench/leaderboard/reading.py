"""The records of a folder as a leaderboard takes them."""

from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.evaluation.filled_ap import ap_of
from kdbench.leaderboard.form import check_form, named
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
            found = _checked(record)
            if not _is_of(budget, record):
                continue
        except KdbenchError as error:
            problems.append(str(error))
        else:
            records.append(found)
    return records


def _checked(record: Record) -> Record:
    """What `needed` leaves of a record. Raises KdbenchError where that is damaged."""
    try:
        found = needed(record)
    except (TypeError, AttributeError, KeyError, IndexError) as error:
        raise KdbenchError(f"{named(record)}: its figures cannot be read ({error})") from None
    check_form(found)
    check_hash(found)
    return found


def needed(record: Record) -> Record:
    """The record without what no table shows: thousands of them are in memory at once."""
    for scored in (record["metrics"], *(record.get("transfer") or [])):
        scored["ap"] = ap_of(scored)
        scored.pop("kitti", None)
    record["latency"].pop("samples", None)
    return record


def _is_of(budget: float | None, record: Record) -> bool:
    """Whether a run is one of a budget, or a teacher."""
    spec = RunSpec.from_dict(record["spec"])
    own = budget_of(spec)
    return budget is None or spec.is_teacher or (own is not None and abs(own / budget - 1) < 0.01)
