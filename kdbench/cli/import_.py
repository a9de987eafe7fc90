"""`kdbench import`: a public checkpoint as a network of kdbench's."""

from pathlib import Path
from typing import Any

import click

from kdbench.cli.options import set_option
from kdbench.cli.output import console, json_option, write_json
from kdbench.errors import KdbenchError, UsageError
from kdbench.imports import store
from kdbench.imports.cases import config_of, read_cases, read_inputs
from kdbench.imports.check import check_case, failures
from kdbench.imports.checkpoint import read_checkpoint
from kdbench.imports.compare import Row
from kdbench.imports.network import Imported, import_network
from kdbench.imports.pcdet import read_yaml
from kdbench.runs.settings import parse_overrides


@click.command("import")
@click.argument("file", metavar="FILE.pth")
@click.option("--out", "name", required=True, metavar="NAME", help="What it is called from now on.")
@click.option("--format", metavar="F", help="openpcdet or mmdet3d  [told by the file]")
@click.option("--detector", metavar="D", help="Which of kdbench's detectors  [told by the file]")
@click.option("--config", metavar="FILE.yaml", help="OpenPCDet's configuration of the network.")
@set_option
@click.option(
    "--check",
    "case",
    metavar="CASE",
    help="Compare with what its project computes: a folder, or detections in a .npz.",
)
@click.option("--data-root", metavar="DIR", help="KITTI, for a CASE with its frames.")
@click.option("--force", is_flag=True, help="Replace a network of that name.")
@json_option
def import_(
    file, name, format, detector, config, assignments, case, data_root, force, json_file
) -> None:  # fmt: skip
    """Turn a checkpoint of OpenPCDet or mmdetection3d into a network of kdbench's detectors.

    It is kept below KDBENCH_HOME/imported. Nothing in FILE is executed. With --check it is kept
    only if it computes what its project does.
    """
    store.check_free(name, force)
    path = Path(file)
    values, origin = _settings(path, format, config, case)
    imported = import_network(
        path, format=format, detector=detector, config=values, origin=origin,
        options=_detector_options(assignments),
    )  # fmt: skip
    _tell(imported)
    rows = _check(imported, Path(case), data_root) if case else []
    result = {"name": name, **imported.description(), "unused": imported.unused}
    write_json(result | {"check": [row.plain() for row in rows]}, json_file)
    if rows and json_file != "-":
        click.echo("\n".join(["greatest errors:", *map(_line, rows)]))
    if found := failures(rows):
        raise KdbenchError(f"{path}: not kept, its project computes something else: {found}")
    place = store.save(name, imported, force)
    console.print(f"kept as {name} in {place}", soft_wrap=True)


def _settings(path: Path, format, config, case) -> tuple[dict[str, Any] | None, str]:
    """A configuration in the form of the file's project and where it is from, if one is given."""
    if not config and not (case and Path(case).is_dir()):
        return None, ""
    project = read_checkpoint(path, format).format
    if config and project != "openpcdet":
        raise UsageError(
            f"--config {config}: is for OpenPCDet; files of {project} say it themselves"
        )
    if config:
        return read_yaml(Path(config)), config
    origin = f"{case}/inputs.json"
    return config_of(read_inputs(Path(case)), project, origin), origin


def _detector_options(assignments) -> dict[str, Any]:
    options = {}
    for key, value in parse_overrides(list(assignments)).items():
        part, _, option = key.partition(".")
        if part != "detector" or not option:
            raise UsageError(f"--set {key}: only detector.<option> can be set here")
        options[option] = value
    return options


def _tell(imported: Imported) -> None:
    """What was read, and what a user should know of it, a line each."""
    spec, count = imported.spec, sum(p.numel() for p in imported.network.parameters())
    width = "own widths" if "widths" in spec.options else f"ratio {spec.ratio:g}"
    console.print(
        f"{imported.file.path.name}: {spec.name} of {imported.file.format}, {width}, "
        f"{count:,} parameters, classes {', '.join(imported.network.classes)}",
        soft_wrap=True,
    )
    for note in imported.settings.notes:
        console.print(note, soft_wrap=True)
    if imported.unused:
        console.print(f"not used: {', '.join(imported.unused)}", soft_wrap=True)


def _check(imported: Imported, case: Path, data_root: str | None) -> list[Row]:
    cases, skipped = read_cases(case, data_root)
    for line in skipped:
        console.print(line, soft_wrap=True)
    return [row for found in cases for row in check_case(imported, found)]


def _line(row: Row) -> str:
    """The comparison of an array on a line: its greatest error, of boxes by column."""
    error = " ".join(f"{e:.1e}" for e in row.error)
    return f"{row.case}  {row.array:<24} {error} {row.unit}  {'ok' if row.ok else 'DIFFERS'}"
