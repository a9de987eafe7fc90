"""A record by whatever names it: its path, itself, or the name or hash of a published run."""

from collections.abc import Sequence
from pathlib import Path

from kdbench.errors import UsageError
from kdbench.registry.suggest import unknown
from kdbench.runs import publishing
from kdbench.runs.records import Record, checked, read_record

Named = str | Path | Record


def named_record(named: Named, others: Sequence[str] = ()) -> Record:
    """The record that is meant. Raises UsageError for a name that is none, or of several runs.

    `others` are names of other things that may have been meant.
    """
    if isinstance(named, dict):
        return checked(named, "the record given")
    if Path(named).suffix == ".json":
        return read_record(Path(named))
    entries = publishing.entries()
    found = [e for e in entries if str(named) in (e.name, e.record["hash"])]
    if len(found) == 1:
        return found[0].record
    if found:
        hashes = ", ".join(entry.record["hash"] for entry in found)
        raise UsageError(f"{named}: {len(found)} published runs; say which by hash: {hashes}")
    names = [name for e in entries for name in (e.name, e.record["hash"])]
    what = "published run or imported network" if others else "published run"
    raise UsageError(f"{unknown(what, named, [*names, *others])}; a record's path ends with .json")
