"""The cells of a sweep: every run asked for, and the runs they rest on."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

from kdbench.errors import NotApplicable, UsageError
from kdbench.runs.records import Record, find_record
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import RunSpec
from kdbench.training.applicable import check_applicable
from kdbench.training.teachers import known_teacher, source_run

# States of a cell. A cell that is not READY at first is never started.
READY, CACHED, NOT_APPLICABLE = "ready", "cached", "not applicable"
RUNNING, DONE, FAILED, SKIPPED = "running", "done", "failed", "skipped"


@dataclass
class Cell:
    """One run of a sweep. `needs` are keys of the cells that must be done before."""

    spec: RunSpec
    needs: tuple[str, ...] = ()
    state: str = READY
    reason: str = ""  # why it is not applicable, failed or skipped
    attempts: int = 0
    seconds: float = 0.0  # of the last attempt
    record: Record | None = field(default=None, repr=False)
    key: str = ""  # what identifies the cell: the run's hash, as it was known at first

    def __post_init__(self):
        self.key = self.key or self.spec.hash


def expand(
    methods: Iterable[str | dict[str, Any]],
    detectors: Iterable[str],
    ratios: Iterable[float],
    seeds: Iterable[int],
    budgets: Iterable[float | str] = (1,),
    overrides: dict[str, Any] | None = None,
    **named: Any,
) -> list[RunSpec]:
    """The runs asked for: every method on every detector, at every ratio, budget and seed.

    A method is a name or a dictionary of `name` and options. `overrides` (`train.lr`, ...) hold
    for all, `named` (profile, dataset, teacher, device) are `build_spec`'s. Seeds come outermost,
    so that a table is whole early.
    """
    specs = []
    for seed, budget, detector, ratio, method in product(
        seeds, budgets, detectors, ratios, methods
    ):
        name, options = _named_method(method)
        own = {f"method.{key}": value for key, value in options.items()}
        specs.append(
            build_spec(
                method=name, detector=detector, ratio=float(ratio), budget=budget, seed=seed,
                overrides=(overrides or {}) | own, **named,
            )
        )  # fmt: skip
    return specs


def _named_method(method: str | dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and options of a method as a sweep asks for it."""
    if isinstance(method, str):
        return method, {}
    if not isinstance(method, dict) or "name" not in method:
        raise UsageError(f"methods: {method!r} is neither a name nor `{{name: ..., option: ...}}`")
    return method["name"], {key: value for key, value in method.items() if key != "name"}


def plan(specs: Iterable[RunSpec], results: Path) -> list[Cell]:
    """The cells of runs and of all that they rest on, in the order in which they should be run.

    Teachers come first, then seed by seed students without distillation and methods: a sweep that
    is stopped leaves pairs that can be compared.
    `specs` hold the data set's fingerprint. Runs that are done are CACHED.
    """
    cells: dict[str, Cell] = {}
    reasons: dict[str, str] = {}
    for spec in specs:
        _add(cells, spec, results, reasons)
    _renew_teachers(cells, results)
    return sorted(cells.values(), key=_turn)


def taught(spec: RunSpec, results: Path) -> RunSpec:
    """The run with its teacher's weights, as far as the teacher is trained."""
    teacher = spec.teacher_run()
    if teacher is None:
        return spec
    record = known_teacher(results, teacher) or find_record(results, teacher)
    return spec.taught_by(record["weights_sha256"]) if record else spec


def _turn(cell: Cell) -> tuple[int, int, int]:
    """Which round a cell belongs to; what it needs is of an earlier one."""
    spec = cell.spec
    return int(not spec.is_teacher), spec.seed, int(spec != spec.baseline())


def _renew_teachers(cells: dict[str, Cell], results: Path) -> None:
    """Makes READY the teachers that have a record, but no weights for those that wait for them.

    Or each of those would train it, and two at a time the same one.
    """
    waiting = [cell for cell in cells.values() if cell.state == READY]
    for cell in [cells[key] for key in dict.fromkeys(k for c in waiting for k in c.needs)]:
        lost = cell.spec.is_teacher and known_teacher(results, cell.spec) is None
        if cell.state == CACHED and lost:
            cell.state, cell.record = READY, None


def _why_not(spec: RunSpec, known: dict[str, str]) -> str:
    """Why a run is not applicable; empty for one that is.

    Networks are built to tell, so what is `known` is kept: it is the same for all seeds.
    """
    key = replace(spec, seed=0).hash
    if key not in known:
        known[key] = ""
        try:
            check_applicable(spec)
        except NotApplicable as error:
            known[key] = str(error)
    return known[key]


def _add(cells: dict[str, Cell], spec: RunSpec, results: Path, reasons: dict[str, str]) -> str:
    spec = taught(spec, results)
    if spec.hash in cells:
        return spec.hash
    cell = Cell(spec)
    if reason := _why_not(spec, reasons):
        cell.state, cell.reason = NOT_APPLICABLE, reason
        cells[cell.key] = cell
        return cell.key
    needs = [_add(cells, earlier, results, reasons) for earlier in _earlier(spec)]
    cell.needs = tuple(dict.fromkeys(needs))
    cell.record = find_record(results, spec)
    if spec.is_teacher:
        cell.record = known_teacher(results, spec) or cell.record
    if cell.record is not None:
        cell.state = CACHED
    cells[cell.key] = cell
    return cell.key


def _earlier(spec: RunSpec) -> list[RunSpec]:
    """The runs that a run rests on or is held against."""
    found = [spec.teacher_run(), spec.baseline(), source_run(spec)]
    return [run for run in found if run is not None and run != spec]
