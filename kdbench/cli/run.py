"""`kdbench run`: train, evaluate and measure one student, and what it is compared with."""

from pathlib import Path

import click
from rich.console import Console

from kdbench.cli.options import plugin_option, set_option
from kdbench.cli.output import console, json_option, write_json
from kdbench.errors import UsageError
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.tables import rich_tables
from kdbench.measure.device import resolve_device
from kdbench.registry.suggest import unknown
from kdbench.runs import schema1
from kdbench.runs.records import Record, find_record
from kdbench.runs.settings import build_spec, parse_overrides, read_config
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import run_folder
from kdbench.runs.teaching import teacher_named
from kdbench.runs.validity import check_spec, typed
from kdbench.storage.reading import read_json
from kdbench.training import processes
from kdbench.training.follow import follow
from kdbench.training.progress import Reporter
from kdbench.training.run import Runner
from kdbench.training.tensorboard import TensorBoard

# What a configuration file may set at its top level, with the defaults.
DEFAULTS = {
    "method": "pointdistiller",
    "detector": "pointpillars",
    "ratio": 4.0,
    "dataset": "synthetic",
    "profile": "quick",
    "seed": 0,
    "device": "cpu",
    "budget": 1,
}


@click.command()
@click.option("--method", help="Distillation method [pointdistiller].")
@click.option("--detector", help="Detector [pointpillars].")
@click.option("--teacher", metavar="NAME", help="An imported network [one that is trained].")
@click.option("--teacher-detector", metavar="NAME", help="The teacher's [that of the student].")
@click.option("--teacher-budget", metavar="X", help="Times the profile's steps of a teacher [1].")
@click.option("--ratio", type=float, help="Compression: widths are divided by its root [4].")
@click.option("--dataset", help="Data set [synthetic].")
@click.option("--data-root", help="Folder of the data set, in KITTI's layout.")
@click.option("--profile", help="tiny, quick, standard or paper [quick].")
@click.option("--seed", type=int, help="Of weights, order and augmentation [0].")
@click.option("--budget", help="Times the profile's steps, such as 4 or 1/2 [1].")
@click.option("--device", help="cpu, cuda or auto [cpu].")
@click.option("--config", type=click.Path(), help="YAML file with any of these settings.")
@set_option
@click.option("--spec", "spec_file", metavar="FILE", help="Repeat the run of a record, exactly.")
@click.option("--results", default="results", show_default=True, help="Folder of records.")
@click.option("--force", is_flag=True, help="Run again although the record is there.")
@click.option("--train-teacher", is_flag=True, help="Train the teacher, though it is published.")
@click.option("--measure", is_flag=True,
              help="Measure cost and latency of this run, not once for its network.")  # fmt: skip
@click.option("--transfer", metavar="DIR",
              help="Score the runs on the KITTI tree DIR too; none learns from it.")  # fmt: skip
@click.option("--trace", is_flag=True,
              help="Write down how distillation pulls at students, at eight moments.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--tensorboard", is_flag=True, help="Write events for TensorBoard (extra).")
@plugin_option
@json_option
def run(
    config,
    assignments,
    spec_file,
    data_root,
    results,
    force,
    train_teacher,
    measure,
    transfer,
    trace,
    quiet,
    tensorboard,
    json_file,
    **named,
) -> None:
    """Train a compressed student with a method; its teacher and baseline when absent.

    What is done already is not done again, and a run that was stopped goes on where it was.
    `torchrun --nproc-per-node N -m kdbench run ...` trains it by N processes.
    """
    with processes.joined():
        if not processes.leads():
            follow(data_root)
            return
        spec, device = read_settings(config, assignments, spec_file, named)
        processes.check(spec, device)
        if train_teacher and spec.teacher and spec.teacher.imported:
            raise UsageError("--train-teacher: an imported teacher is not trained")
        if trace and processes.size() > 1:
            raise UsageError("--trace: several processes are not traced; run it without torchrun")
        reporter = Reporter(quiet, TensorBoard() if tensorboard else None)
        own = {"own_teacher": train_teacher, "measure": measure, "transfer": transfer}
        own["trace"] = trace
        record = Runner(Path(results), data_root, force, reporter, device, **own).run(spec)
        processes.dismiss()
    records = _with_related(Path(results), record)
    if reporter.board:
        for found in records:
            reporter.board.result(found, run_folder(RunSpec.from_dict(found["spec"])))
    write_json(record, json_file)
    if json_file != "-":
        for table in rich_tables(leaderboard(records)):
            Console().print(table)


def read_settings(config, assignments, spec_file, named: dict) -> tuple[RunSpec, str]:
    """The run that a configuration file, options and `--set` ask for, or the one of `--spec`.

    With it comes the device. A spec says which, but a teacher's: of that, `--device` does.
    """
    settings = read_config(config) if config else {}
    settings |= {key: value for key, value in named.items() if value is not None}
    settings |= parse_overrides(assignments)
    if not spec_file:
        spec = spec_from(settings)
        return spec, spec.device
    spec = read_spec(Path(spec_file))
    open_device = settings.pop("device", "cpu") if spec.is_teacher else spec.device
    if settings:
        raise UsageError(f"--spec says all; leave out {', '.join(sorted(settings))}")
    return spec, resolve_device(open_device).type


def read_spec(path: Path) -> RunSpec:
    """The spec in a JSON file: on its own, or in a record. Raises UsageError for none."""
    values = read_json(path)
    if isinstance(values, dict) and "spec" in values:
        values = values["spec"]
    try:
        if old := schema1.is_old(values):
            values = schema1.upgraded(values)
        spec = RunSpec.from_dict(typed(values))
        check_spec(spec)
    except UsageError as error:
        raise UsageError(f"--spec {path}: {error}") from None
    except (TypeError, ValueError, KeyError) as error:
        raise UsageError(f"--spec {path}: neither a spec nor a record ({error})") from None
    if old:
        console.print(f"{path}: {schema1.WHAT_CHANGED}", soft_wrap=True, markup=False)
    return spec


def spec_from(settings: dict) -> RunSpec:
    """A spec from flat settings: the names of DEFAULTS, and dotted overrides."""
    overrides = {key: value for key, value in settings.items() if "." in key}
    names = {key: value for key, value in settings.items() if "." not in key}
    known = [*DEFAULTS, "teacher", "teacher_detector", "teacher_budget"]
    for key in names:
        if key not in known:
            raise UsageError(unknown("configuration key", key, known))
    if "teacher" in names:
        teacher = teacher_named(names["teacher"])
        own = {} if "teacher_detector" in names else {"detector": teacher.detector}
        names = own | names | {"teacher": teacher}
    values = DEFAULTS | names
    values["device"] = resolve_device(values["device"]).type
    return build_spec(**values, overrides=overrides)


def _with_related(results: Path, record: Record) -> list[Record]:
    """The records of a run's teacher and baseline, and its own."""
    spec = RunSpec.from_dict(record["spec"])
    related = {s.hash: s for s in (spec.teacher_run(), spec.baseline(), spec) if s}
    records = [find_record(results, s) for s in related.values()]
    return [found for found in records if found]
