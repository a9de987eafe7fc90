"""Records: one JSON file a finished run, below a results folder.

The path reads `<dataset>/<detector>-x<ratio>/<method>/seed<k>-<hash>.json`; the hash is that
of the run's spec, so a file that is there means that the run is done.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.runs.spec import RunSpec
from kdbench.storage.files import write_text

SCHEMA = 2
PARTS = ("hash", "spec", "metrics", "cost", "latency", "training")
Record = dict[str, Any]


def write_record(results: Path, record: Record) -> Path:
    """Writes a record to its place; returns the path.

    A record without a `date` gets the present one, ISO 8601 in UTC, to the second. It says when a
    run ended and is no part of what is compared between runs; None is an unknown one.
    """
    record.setdefault("date", datetime.now(UTC).isoformat(timespec="seconds"))
    path = results / RunSpec.from_dict(record["spec"]).record_path
    write_text(path, json.dumps(record, indent=1) + "\n")
    return path


def read_record(path: Path) -> Record:
    """One record. Raises KdbenchError that names the file when it is damaged or another schema."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KdbenchError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise KdbenchError(f"{path}: not a record, damaged JSON ({error})") from None
    return checked(record, str(path))


def checked(record: Any, where: str) -> Record:
    """A record of today's schema. Raises KdbenchError that says `where` what is none was found."""
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema not in (1, SCHEMA):
        raise KdbenchError(f"{where}: record schema {schema}, this version reads up to {SCHEMA}")
    if absent := [part for part in PARTS if part not in record]:
        raise KdbenchError(f"{where}: not a record, it has no {', '.join(absent)}")
    try:
        return _upgraded(record) if schema != SCHEMA else _readable(record)
    except (TypeError, AttributeError, KeyError) as error:
        raise KdbenchError(
            f"{where}: its spec cannot be read ({error}); a newer version of kdbench wrote it, or "
            "it was changed by hand"
        ) from None


def _readable(record: Record) -> Record:
    """The record. Raises TypeError and the like when its spec is none that is known today."""
    RunSpec.from_dict(record["spec"])
    return record


def _upgraded(record: Record) -> Record:
    """A record of schema 1 as one of today; `was` is the hash that it had."""
    old = RunSpec.from_dict(record["spec"])
    spec = replace(old)  # which computes a hash of its own
    named = {"hash": spec.hash, "was": record["hash"]} if record["hash"] == old.hash else {}
    teacher = spec.teacher_run() or spec.baseline()
    taught = {"teacher": teacher.hash if record.get("teacher") else None}
    return record | named | taught | {"schema": SCHEMA, "spec": spec.to_dict()}


def find_record(results: Path, spec: RunSpec) -> Record | None:
    """The record of a run, or None when it has not been done."""
    path = results / spec.record_path
    return read_record(path) if path.exists() else None


def read_records(results: Path, problems: list[str] | None = None) -> list[Record]:
    """All records below a folder, in the order of their paths.

    One that cannot be read raises KdbenchError; with `problems` it is left out, and a line about
    it is added there.
    """
    return list(each_record(results, problems))


def each_record(results: Path, problems: list[str] | None = None) -> Iterator[Record]:
    """The records of `read_records`, one at a time: all together take much memory."""
    if not results.is_dir():
        raise KdbenchError(f"{results}: no such folder of results; `kdbench run` makes one")
    for path in sorted(results.glob("*/*/*/seed*-*.json")):
        try:
            record = read_record(path)
        except KdbenchError as error:
            if problems is None:
                raise
            problems.append(str(error))
        else:
            yield record


def check_hash(record: Record) -> None:
    """Raises KdbenchError when a record is not of the run that its spec describes.

    Its spec was changed by hand, or a setting has come since that an older version did not know:
    either way it would stand in a row with runs that it does not belong to.
    """
    spec = RunSpec.from_dict(record["spec"])
    if record["hash"] != spec.hash:
        raise KdbenchError(
            f"{spec.label}: its record has the hash {record['hash']}, its spec {spec.hash}: "
            "changed by hand, or written by a version with other settings"
        )


def check_writable(results: Path) -> None:
    """Raises KdbenchError now rather than after a training when records cannot be written."""
    probe = results / ".write-test"
    write_text(probe, "")
    probe.unlink(missing_ok=True)


def differences(base: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """What differs between two nested dictionaries: `train.steps 625 -> 700`."""
    found = []
    for key in dict.fromkeys([*base, *new]):
        a, b = base.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key} {a} -> {b}")
    return found
