"""What can be told of a record that somebody sends in: its schema, its spec, its hash, its place.

Whether its figures are right is another matter: see `verified.py`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.evaluation.filled_ap import METRICS, ap_of
from kdbench.runs.records import SCHEMA, check_hash, checked, differences
from kdbench.runs.spec import RunSpec
from kdbench.runs.validity import check_spec, typed

ROUNDING = 0.01  # points of mAP between a mean and the mean of its classes


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    problem: str | None  # None: it is right


def findings(path: Path) -> Iterator[Finding]:
    """What was found of the record in a file, in the order in which it was looked at.

    What rests on a part that cannot be read is left out.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        yield Finding("file", f"cannot be read as JSON ({error})")
        return
    for what, check in CHECKS.items():
        found = Finding(what, _problem(check, record, path))
        yield found
        if found.problem and what in NEEDED:
            return


def _problem(check: Callable[[Any, Path], None], record: Any, path: Path) -> str | None:
    try:
        check(record, path)
    except KdbenchError as error:
        return str(error)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return f"cannot be read ({type(error).__name__}: {error})"
    return None


def _schema(record: Any, path: Path) -> None:
    checked(record, path.name)
    if record["schema"] != SCHEMA:
        raise KdbenchError(f"{record['schema']}, to be published is {SCHEMA}")


def _spec(record: Any, path: Path) -> None:
    spec = RunSpec.from_dict(record["spec"])
    if changed := differences(record["spec"], spec.to_dict()):
        raise KdbenchError(f"reads otherwise than it is written: {changed[0]}")
    typed(record["spec"])
    check_spec(spec)


def _hash(record: Any, path: Path) -> None:
    check_hash(record)


def _place(record: Any, path: Path) -> None:
    wanted = RunSpec.from_dict(record["spec"]).record_path
    if path.name != wanted.name:
        raise KdbenchError(f"the file of this run is called {wanted.name}, not {path.name}")


def _figures(record: Any, path: Path) -> None:
    metrics = record["metrics"]
    for metric in METRICS:
        stated = metrics[f"{metric}_map"]
        found = fmean(ap for ap in ap_of(metrics)[metric].values() if ap is not None)
        if not 0 <= stated <= 100 or not abs(stated - found) < ROUNDING:
            raise KdbenchError(f"{metric}_map is {stated:.2f}, its classes come to {found:.2f}")


CHECKS = {"schema": _schema, "spec": _spec, "hash": _hash, "name": _place, "mAP": _figures}
NEEDED = ("schema",)  # without it there is nothing else to look at
