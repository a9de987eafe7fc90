"""`kdbench sweep`: many runs, each in a process of its own."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from kdbench.cli.options import PLUGINS, plugin_option, set_option
from kdbench.cli.output import console, json_option, write_json
from kdbench.errors import KdbenchError, UsageError
from kdbench.measure.device import resolve_device
from kdbench.registry import methods as method_registry
from kdbench.registry.suggest import unknown
from kdbench.runs.records import check_writable, find_record
from kdbench.runs.settings import parse_overrides
from kdbench.runs.spec import DatasetSpec, RunSpec
from kdbench.runs.teaching import teacher_named
from kdbench.storage.reading import read_yaml
from kdbench.sweep.local import LocalEngine, cores, log_path
from kdbench.sweep.plan import FAILED, SKIPPED, Cell, expand, plan, taught
from kdbench.sweep.ray_engine import RayEngine
from kdbench.sweep.schedule import Engine, Schedule
from kdbench.sweep.view import plan_table, summary, watching
from kdbench.training.data import build_dataset, of_frames
from kdbench.training.transfer import real_frames

DEFAULTS = {
    "methods": None,
    "detectors": None,
    "teacher": None,
    "teacher_detector": None,
    "teacher_budget": None,
    "ratios": "4",
    "seeds": "3",
    "budgets": "1",
    "profile": "quick",
    "dataset": "synthetic",
    "device": "cpu",
    "set": {},
}
MOST_SEEDS = 10_000  # that a number of seeds stands for


@click.command()
@click.argument("config", required=False, metavar="[FILE.yaml]")
@click.option("--methods", help="Names with commas between, or `all`.")
@click.option("--detectors", help="Names with commas between [pointpillars].")
@click.option("--teacher", metavar="NAME", help="An imported network [those that are trained].")
@click.option("--teacher-detector", metavar="NAME", help="The teacher's [that of the student].")
@click.option("--teacher-budget", metavar="X", help="Times the profile's steps of a teacher [1].")
@click.option("--ratios", help="Numbers with commas between [4].")
@click.option("--seeds", help="How many, from 0 on; or a list such as 0,3 [3].")
@click.option("--budgets", help="Times the profile's steps, with commas between [1].")
@click.option("--profile", help="tiny, quick, standard or paper [quick].")
@click.option("--dataset", help="Data set [synthetic].")
@click.option("--data-root", help="Folder of the data set, in KITTI's layout.")
@click.option("--device", help="cpu, cuda or auto [cpu].")
@set_option
@click.option("--jobs", default="auto", show_default=True,
              help="Runs at a time; auto: one a core, or one a GPU.")  # fmt: skip
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
              help="Processes of this machine, or tasks of a Ray cluster.")  # fmt: skip
@click.option("--address", help="Of the Ray cluster; without it one is started here.")
@click.option("--cpus", default=1.0, show_default=True, help="Cores of a Ray task.")
@click.option("--gpus", default=0.0, show_default=True, help="GPUs of a Ray task.")
@click.option("--transfer", metavar="DIR", type=click.Path(exists=True, file_okay=False),
              help="Score the runs on the KITTI tree DIR too; none learns from it.")  # fmt: skip
@click.option("--trace", is_flag=True,
              help="Write down how distillation pulls at students, at eight moments.")  # fmt: skip
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be run, and stop.")
@click.option("--results", default="results", show_default=True, help="Folder of records.")
@plugin_option
@json_option
@click.pass_context
def sweep(
    context, config, data_root, assignments, jobs, engine, address, cpus, gpus, transfer, trace,
    only_plan, results, json_file, **named,
) -> None:  # fmt: skip
    """Run methods x detectors x ratios x seeds; what is done already is not done again.

    FILE.yaml says the same: methods (names, or name and options), detectors, ratios, seeds,
    budgets, profile, dataset, teacher, teacher_detector, teacher_budget, device, set. A sweep that
    was stopped, even by `kill -9`, goes on where it was when it is started again.
    """
    settings = DEFAULTS | (read_sweep(Path(config)) if config else {})
    settings |= {key: value for key, value in named.items() if value is not None}
    settings["set"] = settings["set"] | parse_overrides(list(assignments))
    folder = Path(results)
    check_writable(folder)
    jobs = jobs_asked(jobs, gpus_here(settings))
    cells = plan(identified(runs_asked(settings), data_root), folder)
    if transfer:  # before anything is trained
        real_frames(cells[0].spec, transfer).preflight()
    console.print(plan_table(cells, jobs))
    if not only_plan:
        common = (folder, data_root, context.meta.get(PLUGINS, ()), jobs)
        if engine == "ray":
            where = RayEngine(*common, address, cpus, gpus)
        else:
            where = LocalEngine(*common, gpus_here(settings))
        where.device = resolve_device(settings["device"]).type
        where.transfer, where.trace = transfer, trace
        run_cells(cells, where, folder)
        console.print(summary(cells, log_path), soft_wrap=True)
        if transfer:
            _name_unscored(cells)
    write_json([_row(cell) for cell in cells], json_file)
    broken = [cell for cell in cells if cell.state in (FAILED, SKIPPED)]
    if broken:
        raise KdbenchError(f"{len(broken)} of {len(cells)} cells have no record")


def _name_unscored(cells: list[Cell]) -> None:
    """Says how many runs have no figures of real frames: those of an earlier sweep."""
    left = sum("transfer" not in cell.record for cell in cells if cell.record is not None)
    if left:
        console.print(
            f"{left} runs were done before, and not scored on real frames: "
            "`kdbench transfer RECORD... --data-root DIR` does that"
        )


def run_cells(cells: list[Cell], engine: Engine, results: Path) -> None:
    """Runs cells to the end, showing how they are."""
    schedule = Schedule(
        cells, engine, lambda cell: find_record(results, cell.spec), lambda s: taught(s, results)
    )
    with watching(cells, console) as schedule.changed:
        schedule.run()


def runs_asked(settings: dict[str, Any]) -> list[RunSpec]:
    """The runs that settings ask for, without those they rest on."""
    if settings["methods"] is None:
        raise UsageError("say which methods: --methods kd,pointdistiller, or --methods all")
    methods = _items("methods", settings["methods"])
    teacher = settings["teacher"] and teacher_named(settings["teacher"])
    other = settings["teacher_detector"]
    own = teacher.detector if teacher and not other else RunSpec().detector.name
    return expand(
        method_registry.names() if methods == ["all"] else methods,
        _items("detectors", settings["detectors"] or own),
        [_number("ratios", x, float) for x in _items("ratios", settings["ratios"])],
        _seeds(settings["seeds"]),
        _items("budgets", settings["budgets"]),
        settings["set"],
        profile=settings["profile"],
        dataset=settings["dataset"],
        teacher=teacher,
        teacher_detector=other,
        teacher_budget=settings["teacher_budget"],
        device=resolve_device(settings["device"]).type,
    )


def identified(specs: list[RunSpec], data_root: str | None) -> Iterable[RunSpec]:
    """The same runs, with the fingerprint of their data set, which has been looked at."""
    known: dict[str, DatasetSpec] = {}
    for spec in specs:
        key = repr(spec.dataset)
        if key not in known:
            dataset = build_dataset(spec, data_root)
            dataset.preflight()
            known[key] = of_frames(spec, dataset).dataset
        yield replace(spec, dataset=known[key])


def read_sweep(path: Path) -> dict[str, Any]:
    """A YAML file of a sweep. Raises UsageError that names the file and the key."""
    values = read_yaml(path)
    for key in values:
        if key not in DEFAULTS:
            raise UsageError(f"{path}: {unknown('key', key, DEFAULTS)}")
    if not isinstance(values.get("set", {}), dict):
        raise UsageError(f"{path}: set: expected `train.steps: 900` lines below it")
    return values


def jobs_asked(value: str, gpus: int) -> int:
    """How many runs at a time `--jobs` asks for.

    On the CPU as many runs of one thread as there are cores take less time than one after the
    other with a thread a core; where OMP_NUM_THREADS is set, as many as fit.
    """
    if value == "auto":
        threads = os.environ.get("OMP_NUM_THREADS", "1").partition(",")[0]
        return gpus or max(1, cores() // max(1, _number("OMP_NUM_THREADS", threads, int)))
    jobs = _number("jobs", value, int)
    if jobs < 1:
        raise UsageError(f"jobs: {value!r} is neither auto nor a number above 0")
    return jobs


def gpus_here(settings: dict[str, Any]) -> int:
    """How many GPUs runs may take turns on."""
    if resolve_device(settings["device"]).type != "cuda":
        return 0
    import torch

    return torch.cuda.device_count()


def _items(what: str, value) -> list:
    """A list, as it is or with commas between; not an empty one."""
    if isinstance(value, str):
        value = [item.strip() for item in value.split(",") if item.strip()]
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    if not items or items == [None]:
        raise UsageError(f"{what}: the list is empty")
    return items


def _seeds(value) -> list[int]:
    """`5`: seeds 0 to 4. `0,3`: those."""
    seeds = [_number("seeds", item, int) for item in _items("seeds", value)]
    alone = isinstance(value, int) or (isinstance(value, str) and "," not in value)
    if min(seeds) < alone:
        raise UsageError(f"seeds: {min(seeds)} is too few" if alone else "seeds: one is below 0")
    if alone and seeds[0] > MOST_SEEDS:
        raise UsageError(f"seeds: {seeds[0]} is too many; `0,{seeds[0]}` are two seeds")
    return list(range(seeds[0])) if alone else seeds


def _number(what: str, value, kind: type):
    """A number of a kind; 2.5 is no int."""
    try:
        number = None if isinstance(value, bool) else kind(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or (isinstance(value, float) and number != value):
        name = "a whole number" if kind is int else "a number"
        raise UsageError(f"{what}: {value!r} is not {name}")
    return number


def _row(cell: Cell) -> dict[str, Any]:
    """A cell for programs."""
    metrics = (cell.record or {}).get("metrics", {})
    return {
        "hash": cell.key,
        "label": cell.spec.label,
        "state": cell.state,
        "reason": cell.reason,
        "seconds": round(cell.seconds, 1),
        "bev_map": metrics.get("bev_map"),
        "3d_map": metrics.get("3d_map"),
    }
