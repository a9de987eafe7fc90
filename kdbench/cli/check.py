"""`kdbench check`: does a method keep the contract, on every detector it applies to?"""

import time
import traceback
from dataclasses import replace

import click
from rich.console import Console
from rich.table import Table

from kdbench.cli.options import plugin_option, set_option
from kdbench.cli.output import json_option, write_json
from kdbench.errors import KdbenchError, NotApplicable, UsageError
from kdbench.registry import detectors, methods
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec, parse_overrides
from kdbench.runs.spec import RunSpec
from kdbench.taps import missing
from kdbench.training.conformance import Failed, check_method


@click.command()
@click.argument("names", nargs=-1, metavar="[METHOD]...")
@click.option("--all", "everything", is_flag=True, help="Every method there is.")
@click.option("--detector", help="Only this detector.")
@click.option("--ratio", type=float, default=4.0, show_default=True)
@set_option
@plugin_option
@json_option
def check(names, everything, detector, ratio, assignments, json_file) -> None:
    """Run METHODs on a tiny scene: finite, deterministic, gradients where they belong, ..."""
    if bool(names) == everything:
        raise UsageError("name the methods to check, or give --all")
    chosen = methods.names() if everything else names
    overrides = parse_overrides(list(assignments))
    rows = [
        row
        for name in chosen
        for target in ([detector] if detector else detectors.names())
        for row in _check(name, target, ratio, overrides)
    ]
    write_json(rows, json_file)
    if json_file != "-":
        Console().print(_table(rows))
    failed = [row for row in rows if row["result"] == "failed"]
    if failed:
        raise KdbenchError(f"{len(failed)} of {len(rows)} checks failed: {failed[0]['detail']}")


def _check(method: str, detector: str, ratio: float, overrides: dict) -> list[dict]:
    """A row for each variant of a method on one detector."""
    spec = build_spec(
        profile="tiny", method=method, detector=detector, ratio=ratio, overrides=overrides
    )
    absent = missing(methods.get(method).needs, build_detector(spec.detector, ("Car",)).taps)
    if absent:
        detail = f"needs {', '.join(absent)}"
        return [_row(spec, "-", "not applicable", detail, 0.0)]
    return [_timed(variant) for variant in _variants(spec)]


def _variants(spec: RunSpec) -> list[RunSpec]:
    """The run with each variant of its method, or just itself."""
    kind = methods.get(spec.method.name)
    return [
        replace(spec, method=replace(spec.method, options={**spec.method.options, "variant": v}))
        for v in kind.variants
    ] or [spec]


def _timed(spec: RunSpec) -> dict:
    variant = spec.method.options.get("variant", "-")
    started = time.perf_counter()
    try:
        result, detail = "ok", f"{len(check_method(spec))} checks"
    except NotApplicable as error:
        result, detail = "not applicable", str(error)
    except Failed as failure:
        result, detail = "failed", str(failure)
        if not isinstance(failure.__cause__, (Failed, UsageError)):  # it crashed: show where
            traceback.print_exception(failure.__cause__)
    return _row(spec, variant, result, detail, time.perf_counter() - started)


def _row(spec: RunSpec, variant: str, result: str, detail: str, seconds: float) -> dict:
    return {
        "method": spec.method.name,
        "variant": variant,
        "detector": spec.detector.name,
        "result": result,
        "detail": detail,
        "seconds": round(seconds, 3),
    }


def _table(rows: list[dict]) -> Table:
    table = Table("method", "variant", "detector", "result", "detail")
    for row in rows:
        table.add_row(*(row[c] for c in ("method", "variant", "detector", "result", "detail")))
    return table
