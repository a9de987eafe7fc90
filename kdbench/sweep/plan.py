"""The cells of a sweep: every run asked for, and the runs they rest on."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kdbench.errors import NotApplicable
from kdbench.records import Record, find_record, read_record
from kdbench.registry import methods as method_registry
from kdbench.spec import RunSpec, build_spec, with_method
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
                options = {"name": method} if isinstance(method, str) else dict(method)
                name = options.pop("name")
                own = {f"method.{key}": value for key, value in options.items()}
                for seed in seeds:
                    values = {"detector": detector, "ratio": float(ratio), "seed": seed}
                    all_overrides = (overrides or {}) | own
                    specs.append(
                        build_spec(method=name, overrides=all_overrides, **values, **named)
                    )
    return specs


def plan(specs: Iterable[RunSpec], results: Path) -> list[Cell]:
    """The cells of runs and of all that they rest on, in an order in which they can be run.

    `specs` hold the data set's fingerprint. Runs that are done are CACHED.
    """
    cells: dict[str, Cell] = {}
    for spec in specs:
        _add(cells, spec, results)
    return list(cells.values())


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
