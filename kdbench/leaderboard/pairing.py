"""Which runs of two results folders are the same run, and which can be compared at all.

A run of BASE and one of NEW are paired when their hashes are equal: a change of code keeps the
spec. Of the runs left over, those are paired that have data set and fingerprint, profile, device,
detector, ratio, method with its options, and seed in common; the schedule and the detector's
options may differ, and what differs is told. Two explicit files are one pair whatever their
methods are. Every step is linear in the number of runs.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError, UsageError
from kdbench.evaluation.filled_ap import ap_of
from kdbench.evaluation.resample import METRICS
from kdbench.registry import methods
from kdbench.registry.options import complete
from kdbench.runs.records import Record, read_record, read_records
from kdbench.runs.spec import RunSpec


class CannotCompare(KdbenchError):
    """Two sides that cannot be read, or whose figures mean different things."""

    exit_code = 2


@dataclass(frozen=True)
class Run:
    """A record and what is compared of it."""

    record: Record
    spec: RunSpec
    hash: str  # of the spec as it reads today: settings newer than the record are at their default
    ap: dict[str, float]  # percent at moderate, R40: bev_map, 3d_map, bev_car, ...
    cost: dict[str, int]  # parameters, macs
    p50: float  # latency in ms
    environment: dict[str, Any]  # machine and software


@dataclass(frozen=True)
class Pair:
    """One run on both sides."""

    base: Run
    new: Run


def read_side(path: Path, problems: list[str] | None = None) -> list[Run]:
    """The runs of a record file or a results folder. Raises CannotCompare with the reason.

    With `problems` a record of a folder that cannot be read is left out, and a line about it is
    added there.
    """
    if problems is None or path.is_file():
        problems, strict = [], True
    else:
        strict = False
    before = len(problems)
    try:
        records = [read_record(path)] if path.is_file() else read_records(path, problems)
    except KdbenchError as error:
        raise CannotCompare(str(error)) from None
    runs = []
    for record in records:
        try:
            runs.append(read_run(record, path))
        except CannotCompare as error:
            problems.append(str(error))
    found = problems[before:]
    if found and (strict or not runs):
        raise CannotCompare(found[0])
    if not runs:
        raise CannotCompare(f"{path}: no records in it")
    return runs


def read_run(record: Record, path: Path) -> Run:
    """What is compared of a record. Raises CannotCompare, with `path`, when it lacks any of it."""
    try:
        spec = RunSpec.from_dict(record["spec"])
        run = Run(
            record=record,
            spec=spec,
            hash=spec.hash,
            ap=_average_precision(record["metrics"]),
            cost={name: record["cost"][name] for name in ("parameters", "macs")},
            p50=record["latency"]["p50"],
            environment=record.get("environment") or {},
        )
        sound = all(map(math.isfinite, [*run.ap.values(), *run.cost.values()])) and run.p50 > 0
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        reason = f"lacks what is compared ({type(error).__name__}: {error})"
        raise CannotCompare(f"{path}: record {record.get('hash')} {reason}") from None
    if not sound:
        raise CannotCompare(f"{path}: record {record['hash']} holds a figure that is no number")
    return run


def _average_precision(metrics: dict) -> dict[str, float]:
    found = {f"{metric}_map": metrics[f"{metric}_map"] for metric in METRICS}
    for metric, ap in ap_of(metrics).items():
        found |= {f"{metric}_{name}": value for name, value in ap.items() if value is not None}
    return found


def pair_runs(
    base: Sequence[Run], new: Sequence[Run]
) -> tuple[list[Pair], Sequence[Run], Sequence[Run]]:
    """The pairs, and the runs of each side that have no partner, or more than one."""
    pairs: list[Pair] = []
    for key in (same_spec, same_cell):
        of_base, of_new = _unique(base, key), _unique(new, key)
        found = [Pair(run, of_new[k]) for k, run in of_base.items() if k in of_new]
        paired = {id(run) for pair in found for run in (pair.base, pair.new)}
        base = [run for run in base if id(run) not in paired]
        new = [run for run in new if id(run) not in paired]
        pairs += found
    return pairs, base, new


def _unique(runs: Sequence[Run], key: Callable[[Run], Any]) -> dict[Any, Run]:
    """Runs by key, without those that share theirs with another."""
    keys = [key(run) for run in runs]
    times = Counter(keys)
    return {k: run for k, run in zip(keys, runs, strict=True) if times[k] == 1}


def why_alone(run: Run, base: Sequence[Run], new: Sequence[Run]) -> str:
    """Why a run of BASE has no partner."""
    for key in (same_spec, same_cell):
        for side, runs in (("BASE", base), ("NEW", new)):
            times = sum(key(other) == key(run) for other in runs)
            if times > 1:
                return f"{times} times in {side}"
    return "missing from NEW"


def same_spec(run: Run) -> str:
    """Equal for runs of one spec."""
    return run.hash


def same_cell(run: Run) -> tuple:
    """Equal for runs that stand in one cell of the table and have one seed."""
    spec = run.spec
    return (
        spec.dataset.name, spec.dataset.fingerprint, spec.profile, spec.device,
        spec.detector.name, spec.detector.ratio,
        spec.method.name, repr(sorted(_options(spec).items())), spec.method.scale, spec.seed,
    )  # fmt: skip


def _options(spec: RunSpec) -> dict[str, Any]:
    """A method's options, with the defaults of those that are newer than the record."""
    name, options = spec.method.name, spec.method.options
    try:
        return complete(name, methods.get(name), options)
    except UsageError:  # a method or an option that is no more, or a plugin's
        return options


# What must be the same, or else an AP does not measure the same thing.
_PROTOCOL = {
    "data set": lambda run: run.spec.dataset.name,
    "data set fingerprint": lambda run: run.spec.dataset.fingerprint,
    "profile": lambda run: run.spec.profile,
    "device": lambda run: run.spec.device,
    "number of frames": lambda run: run.record["metrics"].get("frames"),
    "range judged": lambda run: run.record["metrics"].get("point_range"),
    "classes": lambda run: list(ap_of(run.record["metrics"])["bev"]),
}
_IDENTITY = {
    "detector": lambda run: run.spec.cell,
    "method": lambda run: run.spec.method.name,
    "options of the method": lambda run: run.spec.method.options | {"scale": run.spec.method.scale},
    "seed": lambda run: run.spec.seed,
}


def incomparable(pair: Pair) -> str | None:
    """Why two runs cannot be compared: `device cpu against cuda`; None when they can."""
    return why_apart([pair.base], [pair.new], _PROTOCOL)


def why_apart(
    base: Sequence[Run], new: Sequence[Run], fields: dict[str, Callable] = _PROTOCOL | _IDENTITY
) -> str | None:
    """The first field of which the two sides have no value in common, with some of the values."""
    for what, value in fields.items():
        ours, theirs = ({str(value(run)) for run in side} for side in (base, new))
        if ours.isdisjoint(theirs):
            return f"{what} {_some(sorted(ours))} against {_some(sorted(theirs))}"
    return None


def _some(values: list[str], most: int = 3) -> str:
    return ", ".join(values[:most]) + (", ..." if len(values) > most else "")
