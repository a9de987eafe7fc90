"""Which published records the maintainers have seen for themselves, or made.

`verified.txt` beside the published records is their list, a line each: hash, and digest of the
record's contents. Nothing in a record says so: whoever sends one could write it there, or mend its
figures later.
"""

import hashlib
import json
from pathlib import Path

from kdbench.runs import published
from kdbench.runs.records import Record


def list_path() -> Path:
    """The maintainers' list."""
    return published.FOLDER / "verified.txt"


def entry_of(record: Record) -> str:
    """The line of a record in the list: its hash, and sixteen digits of all that it holds."""
    text = json.dumps(record, sort_keys=True)
    return f"{record['hash']} {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def entries() -> set[str]:
    """The lines of the list; none where there is no list."""
    path = list_path()
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {" ".join(line.split()) for line in lines if line.strip() and line[0] != "#"}


def is_verified(record: Record) -> bool:
    """Whether a published record, as it was read, is in the list just as it is."""
    return entry_of(record) in entries()
