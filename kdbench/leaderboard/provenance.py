"""How the numbers of a table were made: machines, software, and the command of each row."""

from collections import Counter
from collections.abc import Mapping, Sequence

from kdbench.leaderboard.commands import command
from kdbench.leaderboard.rows import Row
from kdbench.runs.records import Record
from kdbench.runs.spec import RunSpec

# Of a record's environment; together they say where and with what a run was made.
MACHINE = ("device", "cpu", "cores", "threads", "platform")
SOFTWARE = ("kdbench", "commit", "python", "torch", "numpy", "cuda")


def environments(rows: Sequence[Row], records: Mapping[str, Record]) -> list[tuple[int, dict]]:
    """The different environments of a table's runs, each with its number of runs, most first.

    `records` are by hash. A commit whose files had been changed has a `+` at its end.
    """
    found = [_environment(records[h]) for row in rows for h in row["hashes"] if h in records]
    counts = Counter(tuple(values.items()) for values in found)
    return [(count, dict(values)) for values, count in counts.most_common()]


def repeat(row: Row, records: Mapping[str, Record]) -> str:
    """The command line that makes a row; a loop where it has several seeds."""
    specs = [RunSpec.from_dict(records[h]["spec"]) for h in row["hashes"] if h in records]
    if not specs:
        return ""
    specs.sort(key=lambda spec: spec.seed)
    first, seeds = command(specs[0]), [str(spec.seed) for spec in specs]
    flag = f"--seed {seeds[0]}"
    if len(seeds) == 1:
        return first
    if flag not in first:
        return "; ".join(command(spec) for spec in specs)
    return f"for s in {' '.join(seeds)}; do {first.replace(flag, '--seed $s', 1)}; done"


def made(rows: Sequence[Row], records: Mapping[str, Record]) -> list[str]:
    """The dates of the first and the last run of a table that have one; empty without any."""
    dates = [records[h].get("date") for row in rows for h in row["hashes"] if h in records]
    dates = sorted(date for date in dates if date)
    return list(dict.fromkeys(dates[:1] + dates[-1:]))


def _environment(record: Record) -> dict[str, str]:
    values = record.get("environment") or {}
    shown = {name: values.get(name) for name in (*MACHINE, *SOFTWARE)}
    if shown["commit"]:
        shown["commit"] = shown["commit"][:10] + ("+" if values.get("dirty") else "")
    return {name: str(value) for name, value in shown.items() if value is not None}
