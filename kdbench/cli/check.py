"""`kdbench check`: does a plugin keep the contract of its kind?"""

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace

import click
from rich.console import Console
from rich.table import Table

from kdbench.cli.options import plugin_option, set_option
from kdbench.cli.output import json_option, write_json
from kdbench.errors import KdbenchError, NotApplicable, UsageError
from kdbench.registry import datasets, detectors, methods
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec, parse_overrides
from kdbench.runs.spec import RunSpec
from kdbench.taps import missing
from kdbench.training.conformance import Failed, check_method
from kdbench.training.dataset_conformance import check_dataset
from kdbench.training.detector_conformance import check_detector

REGISTRIES = {registry.what: registry for registry in (methods, detectors, datasets)}
HIDDEN = ("seconds",)  # of a row, in the table

Row = dict[str, object]


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Every one there is.")
@click.option("--kind", type=click.Choice(list(REGISTRIES)), default="method", show_default=True)
@click.option("--detector", help="Methods on this detector only.")
@click.option("--teacher-detector", help="Of methods, a teacher of another detector.")
@click.option("--ratio", type=float, default=4.0, show_default=True, help="Of a method's student.")
@click.option("--data-root", help="Folder of a data set that lies in one.")
@set_option
@plugin_option
@json_option
def check(
    names, everything, kind, detector, teacher_detector, ratio, data_root, assignments, json_file
) -> None:
    """Try plugins on a tiny scene: finite, deterministic, gradients where they belong, ...

    NAMEs are methods, or with --kind detectors or data sets.
    """
    if bool(names) == everything:
        raise UsageError(f"name each {kind} to check, or give --all")
    overrides = parse_overrides(list(assignments))
    checks = {
        "method": lambda name: _methods(name, detector, teacher_detector, ratio, overrides),
        "detector": lambda name: _detector(name, overrides),
        "dataset": lambda name: _dataset(name, data_root, overrides),
    }
    chosen = REGISTRIES[kind].names() if everything else names
    rows = [row for name in chosen for row in checks[kind](name)]
    write_json(rows, json_file)
    if json_file != "-":
        Console().print(_table(rows))
    failed = [row for row in rows if row["result"] == "failed"]
    if failed:
        raise KdbenchError(f"{len(failed)} of {len(rows)} checks failed: {failed[0]['detail']}")


def _methods(name, detector: str | None, teacher_detector, ratio, overrides) -> Iterator[Row]:
    """A row for each detector and each variant of a method."""
    for target in [detector] if detector else detectors.names():
        spec = build_spec(
            profile="tiny", method=name, detector=target, ratio=ratio, overrides=overrides,
            teacher_detector=teacher_detector,
        )  # fmt: skip
        row = {"method": name, "variant": "-", "detector": target}
        absent = missing(methods.get(name).needs, build_detector(spec.detector, ("Car",)).taps)
        if absent:
            yield row | _result("not applicable", f"needs {', '.join(absent)}", 0.0)
            continue
        for one in _variants(spec):
            variant = one.method.options.get("variant", "-")
            yield row | {"variant": variant} | _timed(check_method, one)


def _variants(spec: RunSpec) -> list[RunSpec]:
    """The run with each variant of its method, or just itself."""
    kind = methods.get(spec.method.name)
    return [
        replace(spec, method=replace(spec.method, options={**spec.method.options, "variant": v}))
        for v in kind.variants
    ] or [spec]


def _detector(name: str, overrides: dict) -> Iterator[Row]:
    spec = build_spec(profile="tiny", detector=name, overrides=overrides)
    yield {"detector": name} | _timed(check_detector, spec.detector)


def _dataset(name: str, root: str | None, overrides: dict) -> Iterator[Row]:
    spec = build_spec(profile="tiny", dataset=name, overrides=overrides)
    yield {"dataset": name} | _timed(check_dataset, spec, root)


def _timed(checked: Callable[..., list[str]], *arguments) -> Row:
    started = time.perf_counter()
    try:
        result, detail = "ok", f"{len(checked(*arguments))} checks"
    except NotApplicable as error:
        result, detail = "not applicable", str(error)
    except Failed as failure:
        result, detail = "failed", str(failure)
        if not isinstance(failure.__cause__, (Failed, KdbenchError)):  # it crashed: show where
            traceback.print_exception(failure.__cause__)
    return _result(result, detail, time.perf_counter() - started)


def _result(result: str, detail: str, seconds: float) -> Row:
    return {"result": result, "detail": detail, "seconds": round(seconds, 3)}


def _table(rows: list[Row]) -> Table:
    columns = [name for name in rows[0] if name not in HIDDEN]
    table = Table(*columns)
    for row in rows:
        table.add_row(*(str(row[name]) for name in columns))
    return table
