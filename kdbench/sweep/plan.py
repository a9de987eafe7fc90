"""The cells of a sweep: every run asked for, and the runs they rest on."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kdbench.errors import DataError, NotApplicable, UsageError
from kdbench.registry import methods as method_registry
from kdbench.runs.records import Record, find_record, read_record
from kdbench.runs.spec import RunSpec, build_spec, with_method
from kdbench.runs.store import load_trained
from kdbench.training.run import check_applicable, teacher_run

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

    @property
    def key(self) -> str:
        """What identifies the cell: the run's hash."""
        return self.spec.hash


def expand(
    methods: Iterable[str | dict[str, Any]],
    detectors: Iterable[str],
    ratios: Iterable[float],
    seeds: Iterable[int],
    overrides: dict[str, Any] | None = None,
    **named: Any,
) -> list[RunSpec]:
    """The runs asked for: every method on every detector, at every ratio and seed.

    A method is a name or a dictionary of `name` and options. `overrides` (`train.steps`, ...) hold
    for all, `named` (profile, dataset, device) are `build_spec`'s.
    """
    specs = []
    for detector in detectors:
        for ratio in ratios:
            for method in methods:
                name, options = _named(method)
                own = {f"method.{key}": value for key, value in options.items()}
                for seed in seeds:
                    values = {"detector": detector, "ratio": float(ratio), "seed": seed}
                    all_overrides = (overrides or {}) | own
                    specs.append(
                        build_spec(method=name, overrides=all_overrides, **values, **named)
                    )
    return specs


def _named(method: str | dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and options of a method as a sweep asks for it."""
    if isinstance(method, str):
        return method, {}
    if not isinstance(method, dict) or "name" not in method:
        raise UsageError(f"methods: {method!r} is neither a name nor `{{name: ..., option: ...}}`")
    return method["name"], {key: value for key, value in method.items() if key != "name"}


def plan(specs: Iterable[RunSpec], results: Path) -> list[Cell]:
    """The cells of runs and of all that they rest on, in the order in which they should be run.

    Teachers come first, then students without distillation, then methods, then what pays back the
    cost of a method: a sweep that is stopped leaves pairs that can be compared.
    `specs` hold the data set's fingerprint. Runs that are done are CACHED.
    """
    cells: dict[str, Cell] = {}
    for spec in specs:
        _add(cells, spec, results)
    _renew_teachers(cells)
    return sorted(cells.values(), key=_turn)


def _turn(cell: Cell) -> int:
    """Which round a cell belongs to; what it needs is of an earlier one."""
    spec = cell.spec
    if method_registry.get(spec.method.name).pays_back:
        return 3
    return 0 if spec == spec.teacher() else 1 if spec == spec.baseline() else 2


def _renew_teachers(cells: dict[str, Cell]) -> None:
    """Makes READY the teachers that have a record, but no weights for those that wait for them.

    Or each of those would train it, and two at a time the same one.
    """
    waiting = [cell for cell in cells.values() if cell.state == READY]
    for cell in [cells[key] for key in dict.fromkeys(k for c in waiting for k in c.needs)]:
        if (
            cell.state == CACHED
            and cell.spec == cell.spec.teacher()
            and not _has_weights(cell.spec)
        ):
            cell.state, cell.record = READY, None


def _has_weights(spec: RunSpec) -> bool:
    try:
        load_trained(spec)
    except DataError:
        return False
    return True


def _add(cells: dict[str, Cell], spec: RunSpec, results: Path) -> str:
    if spec.hash in cells:
        return spec.hash
    cell = Cell(spec)
    try:
        check_applicable(spec)
    except NotApplicable as error:
        cell.state, cell.reason = NOT_APPLICABLE, str(error)
        cells[cell.key] = cell
        return cell.key
    needs = [_add(cells, earlier, results) for earlier in _earlier(spec)]
    cell.needs = tuple(dict.fromkeys(needs))
    cell.record = find_done(results, spec)
    if cell.record is not None:
        cell.state = CACHED
    cells[cell.key] = cell
    return cell.key


def _earlier(spec: RunSpec) -> list[RunSpec]:
    """The runs that a run rests on or is held against."""
    kind = method_registry.get(spec.method.name)
    found = [spec.teacher(), spec.baseline(), teacher_run(spec)]
    if kind.pays_back:
        found.append(with_method(spec, spec.method.options["method"]))
    return [run for run in found if run is not None and run != spec]


def find_done(results: Path, spec: RunSpec) -> Record | None:
    """The record of a run. One that pays back what distilling costs is found with any steps."""
    pays_back = method_registry.get(spec.method.name).pays_back
    if not pays_back or spec.train.extra_steps:
        return find_record(results, spec)
    folder = (results / spec.record_path).parent
    for path in sorted(folder.glob(f"seed{spec.seed}-*.json")):
        record = read_record(path)
        found = RunSpec.from_dict(record["spec"])
        if replace(found, train=replace(found.train, extra_steps=0)) == spec:
            return record
    return None
