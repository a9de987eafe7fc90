"""`kdbench run`: train, evaluate and measure one student, and what it is compared with."""

import json
from pathlib import Path

import click
from rich.console import Console

from kdbench.cli.options import plugin_option, set_option
from kdbench.cli.output import json_option, write_json
from kdbench.errors import UsageError
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.tables import rich_tables
from kdbench.measure.device import resolve_device
from kdbench.records import find_record
from kdbench.spec import RunSpec, build_spec, parse_overrides, read_config
from kdbench.suggest import unknown
from kdbench.training.progress import Reporter
from kdbench.training.run import Runner

# What a configuration file may set at its top level, with the defaults.
DEFAULTS = {
    "method": "pointdistiller",
    "detector": "pointpillars",
    "ratio": 4.0,
    "dataset": "synthetic",
    "profile": "quick",
    "seed": 0,
    "device": "cpu",
}


@click.command()
@click.option("--method", help="Distillation method [pointdistiller].")
@click.option("--detector", help="Detector [pointpillars].")
@click.option("--ratio", type=float, help="Compression: widths are divided by its root [4].")
@click.option("--dataset", help="Data set [synthetic].")
@click.option("--data-root", help="Folder of the data set, in KITTI's layout.")
@click.option("--profile", help="tiny, quick, standard or paper [quick].")
@click.option("--seed", type=int, help="Of weights, order and augmentation [0].")
@click.option("--device", help="cpu, cuda or auto [cpu].")
@click.option("--config", type=click.Path(), help="YAML file with any of these settings.")
@set_option
@click.option("--spec", "spec_file", metavar="FILE", help="Repeat the run of a record, exactly.")
@click.option("--results", default="results", show_default=True, help="Folder of records.")
@click.option("--force", is_flag=True, help="Run again although the record is there.")
@click.option("--quiet", is_flag=True, help="No progress.")
@plugin_option
@json_option
def run(
    config, assignments, spec_file, data_root, results, force, quiet, json_file, **named
) -> None:
    """Train a compressed student with a method; its teacher and baseline when absent.

    What is done already is not done again, and a run that was stopped goes on where it was.
    """
    settings = read_config(config) if config else {}
    settings |= {key: value for key, value in named.items() if value is not None}
    settings |= parse_overrides(assignments)
    if spec_file and settings:
        raise UsageError(f"--spec says all; leave out {', '.join(sorted(settings))}")
    spec = read_spec(Path(spec_file)) if spec_file else spec_from(settings)
    runner = Runner(Path(results), data_root, force, Reporter(quiet))
    record = runner.run(spec)
    write_json(record, json_file)
    if json_file != "-":
        _print_table(Path(results), RunSpec.from_dict(record["spec"]))


def read_spec(path: Path) -> RunSpec:
    """The spec in a JSON file: on its own, or in a record."""
    try:
        values = json.loads(path.read_text())
        return RunSpec.from_dict(values.get("spec", values))
    except OSError as error:
        raise UsageError(f"--spec {path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"--spec {path}: neither a spec nor a record ({error})") from None


def spec_from(settings: dict) -> RunSpec:
    """A spec from flat settings: the names of DEFAULTS, and dotted overrides."""
    overrides = {key: value for key, value in settings.items() if "." in key}
    names = {key: value for key, value in settings.items() if "." not in key}
    for key in names:
        if key not in DEFAULTS:
            raise UsageError(unknown("configuration key", key, DEFAULTS))
    values = DEFAULTS | names
    values["device"] = resolve_device(values["device"]).type
    return build_spec(**values, overrides=overrides)


def _print_table(results: Path, spec: RunSpec) -> None:
    """The run beside its teacher and its baseline."""
    related = {s.hash: s for s in (spec.teacher(), spec.baseline(), spec)}
    records = [find_record(results, s) for s in related.values()]
    for table in rich_tables(leaderboard([r for r in records if r])):
        Console().print(table)
