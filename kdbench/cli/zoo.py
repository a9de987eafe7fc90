"""`kdbench zoo`: the runs that are published with kdbench, and those that are sent in."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from kdbench.cli.options import plugin_option
from kdbench.cli.output import console, json_option, write_json
from kdbench.errors import DataError, UsageError
from kdbench.runs import publishing, verified
from kdbench.runs.contribution import findings
from kdbench.runs.publishing import Entry
from kdbench.runs.records import read_record

MOST_OFF = 0.1  # points of mAP that another machine may be away from a record


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def zoo(context, json_file) -> None:
    """List what is published: teachers that are found before one is trained."""
    if context.invoked_subcommand:
        return
    rows = [entry.row() for entry in publishing.entries() if not entry.bare]
    write_json(rows, json_file)
    if json_file != "-":
        Console().print(_table(rows) if rows else "nothing is published with this version")


@zoo.command()
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@click.option("--score", is_flag=True, help="Also detect with each on this machine's frames.")
@plugin_option
def verify(files: tuple[Path, ...], score: bool) -> None:
    """Check records and weights of all that is published, or the records FILEs that are sent in."""
    if files and score:
        raise UsageError("--score is of what is published: a record that is sent in has no weights")
    if files:
        _verify_files(files)
    else:
        _verify_published(score)


def _verify_files(files: tuple[Path, ...]) -> None:
    """A line for each thing that is looked at in a file."""
    bad = 0
    for path in files:
        found = list(findings(path))
        for finding in found:
            told = f"wrong: {finding.problem}" if finding.problem else "right"
            click.echo(f"{path}: {finding.what}: {told}")
        bad += any(finding.problem for finding in found)
    if bad:
        raise DataError(f"{bad} of {len(files)} records are not as they should be")


def _verify_published(score: bool) -> None:
    entries, bad = publishing.entries(), 0
    for entry in entries:
        problem = entry.problem() or (_off(entry) if score and not entry.bare else None)
        bad += problem is not None
        vouched = "" if verified.is_verified(entry.record) else ", not verified"
        told = problem or f"good{vouched}"
        console.print(f"{entry.spec.label}: {told}", soft_wrap=True, markup=False)
    if bad:
        raise DataError(f"{bad} of {len(entries)} published runs are not as they should be")


@zoo.command()
@click.argument("record", metavar="RECORD.json")
@click.option("--to", "folder", metavar="DIR", help="Folder  [that of this installation].")
@click.option(
    "--record-only", is_flag=True, help="Without weights: a row for `report --published`."
)
def publish(record: str, folder: str | None, record_only: bool) -> None:
    """Put a finished run, with its weights, detections and a card, among the published ones."""
    found = read_record(Path(record))
    for path in publishing.publish(found, Path(folder) if folder else None, record_only):
        console.print(f"wrote {path}", soft_wrap=True, markup=False)
    line = verified.entry_of(read_record(path))  # the last one is the record
    told = f"not verified, unless this line is in {verified.list_path().name}: {line}"
    console.print(told, soft_wrap=True, markup=False)


def _off(entry: Entry) -> str | None:
    """How far the mAP on this machine is from the record's, if that is too far."""
    import torch

    from kdbench.training.evaluate import mean_ap
    from kdbench.viewing.scene import frames_of

    dataset, _ = frames_of(entry.spec)
    found = mean_ap(entry.detector(), dataset, torch.device("cpu"))
    off = {key: found[key] - entry.record["metrics"][key] for key in found}
    text = ", ".join(f"{key} {value:+.3f}" for key, value in off.items())
    console.print(f"{entry.spec.label}: {text} from the record", soft_wrap=True, markup=False)
    worst = max(map(abs, off.values()))
    return None if worst <= MOST_OFF else f"its mAP is {worst:.2f} off its record"


def _table(rows: list[dict]) -> Table:
    table = Table("name", "hash", "steps", "BEV mAP", "3D mAP", "real", "MB")
    for row in rows:
        real = "-" if row["real"] is None else f"{row['real']:.1f}"
        table.add_row(
            row["name"], row["hash"], f"{row['steps']:,}",
            f"{row['bev_map']:.1f}", f"{row['3d_map']:.1f}", real, f"{row['bytes'] / 1e6:.1f}",
        )  # fmt: skip
    return table
