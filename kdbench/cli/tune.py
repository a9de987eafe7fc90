"""`kdbench tune`: find the factor on a method's losses, with one budget for all methods."""

import json
from pathlib import Path

import click
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kdbench import __version__
from kdbench.cli.options import plugin_option, set_option
from kdbench.cli.output import json_option, write_json
from kdbench.cli.run import spec_from
from kdbench.errors import NotApplicable, UsageError
from kdbench.registry import methods
from kdbench.runs import tuned
from kdbench.runs.settings import parse_overrides
from kdbench.runs.spec import RunSpec
from kdbench.storage.files import write_text
from kdbench.training.applicable import check_applicable
from kdbench.training.progress import Reporter
from kdbench.training.run import Runner
from kdbench.training.tuning import Tuner, check_tunable


@click.command()
@click.argument("names", nargs=-1, metavar="[METHOD]...")
@click.option("--all", "everything", is_flag=True, help="Every method with a loss of its own.")
@click.option("--detector", help="Detector [pointpillars].")
@click.option("--teacher", metavar="NAME", help="An imported network [one that is trained].")
@click.option("--teacher-detector", metavar="NAME", help="The teacher's [that of the student].")
@click.option("--ratio", type=float, help="Compression [4].")
@click.option("--dataset", help="Data set [synthetic].")
@click.option("--data-root", help="Folder of the data set, in KITTI's layout.")
@click.option("--profile", help="tiny, quick, standard or paper [quick].")
@click.option("--seed", type=int, help="Of weights, order and augmentation [0].")
@click.option("--device", help="cpu, cuda or auto [cpu].")
@set_option
@click.option(
    "--share", "shares", type=click.FloatRange(0, 1, min_open=True, max_open=True),
    multiple=True, default=(0.02, 0.1, 0.3), show_default=True,
    help="Share of the gradient's norm to try, beside the published weights; repeatable.",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(1), default=400, show_default=True,
              help="Training steps of a candidate.")  # fmt: skip
@click.option("--results", default="results", show_default=True, help="Folder of records.")
@click.option("--output", help="Folder of the outcomes [RESULTS/tuned/DETECTOR].")
@click.option("--defaults", is_flag=True, help="Make the outcome this installation's default.")
@click.option("--force", is_flag=True, help="Tune again what was tuned before.")
@click.option("--quiet", is_flag=True, help="No progress.")
@plugin_option
@json_option
def tune(
    names, everything, assignments, data_root, shares, steps, results, output, defaults, force,
    quiet, json_file, **named,
) -> None:  # fmt: skip
    """Find METHODs' loss factor, `method.scale`: published weights against shares of the gradient.

    Students of each candidate train shortly and are scored on held-out training frames; the least
    factor within noise of the best wins. With another teacher the folder is DETECTOR-by-NAME.
    """
    if bool(names) == everything:
        raise UsageError("name the methods to tune, or give --all")
    settings = {k: v for k, v in named.items() if v is not None} | parse_overrides(assignments)
    if "method.scale" in settings:
        raise UsageError("--set method.scale: it is what is looked for")
    by = settings.get("teacher") or settings.get("teacher_detector")
    if by and defaults:
        raise UsageError("--defaults: a default is found with the detector's own teacher")
    runner = Runner(Path(results), data_root, reporter=Reporter(quiet))
    rows = []
    for name in names or tunable(settings):
        spec = spec_from(settings | {"method": name})
        folder = tuned.FOLDER if defaults else Path(output or Path(results) / "tuned")
        own = f"{spec.detector.name}-by-{by}" if by else spec.detector.name
        place = folder / ("" if output else own)
        path = place / f"{_stem(spec)}.json"
        if force or not path.exists():
            outcome = _tuned(runner, spec, shares, steps, place)
            write_text(path, json.dumps(outcome, indent=1) + "\n")
        rows.append(tuned.read_tuned(path) | {"path": str(path)})
    write_json(rows, json_file)
    if json_file != "-":
        Console().print(_table(rows))


def tunable(settings: dict) -> list[str]:
    """Names of the methods that apply to the detector and have a loss of their own."""
    found = []
    for name in methods.names():
        try:
            check_tunable(methods.get(name))
            check_applicable(spec_from(settings | {"method": name}))
        except NotApplicable:
            continue
        found.append(name)
    return found


def _stem(spec: RunSpec) -> str:
    return tuned.tuned_name(spec.method.name, spec.method.options.get("variant"))


def _tuned(runner: Runner, spec: RunSpec, shares, steps: int, place: Path) -> dict:
    check_tunable(methods.get(spec.method.name))
    spec, dataset = runner.prepare(spec)
    tuner = Tuner(dataset, torch.device(spec.device), runner.reporter, shares, steps)
    described = {"method": _stem(spec)} | _described(spec)
    return described | tuner.tune(spec, _zero(tuner, spec, place))


def _zero(tuner: Tuner, spec: RunSpec, place: Path) -> dict:
    """Candidate 0 of the cell: as it was found before under the same conditions, or found now."""
    path = place / f"none-x{spec.detector.ratio:g}.json"
    conditions = _described(spec) | {"run": spec.baseline().hash, "steps": tuner.steps}
    found = tuned.read_tuned(path, tuned.ZERO) if path.exists() else {}
    if any(found.get(key) != value for key, value in conditions.items()):
        found = conditions | tuner.zero(spec)
        write_text(path, json.dumps(found, indent=1) + "\n")
    return found


def _described(spec: RunSpec) -> dict:
    """Under what conditions something was found."""
    return {
        "cell": spec.cell,
        "dataset": f"{spec.dataset.name} {spec.dataset.fingerprint}",
        "profile": spec.profile,
        "seed": spec.seed,
        "kdbench": __version__,
        "torch": torch.__version__,
    }


def _table(rows: list[dict]) -> Table:
    table = Table("method", "chosen scale", "candidates: share of gradient, scale -> BEV / 3D mAP",
                  box=SIMPLE_HEAD)  # fmt: skip
    for row in rows:
        share = row["published_share"]
        known = "no gradient in the probe: as published"
        known = known if share is None else f"(published weights: {share:.1%})"
        if not row.get("helps", True):
            known += "\nno better than none, within noise"
        lines = [*map(_line, row["candidates"]), known]
        table.add_row(row["method"], f"{row['scale']:g}", "\n".join(lines))
    return table


def _line(candidate: dict) -> str:
    name, scale = candidate["name"], candidate["scale"]
    if candidate["bev_map"] is None:
        outcome = "diverged"
    else:
        outcome = f"{candidate['bev_map']:.1f} / {candidate['3d_map']:.1f}"
    return f"{name}, {scale:g} -> {outcome}"
