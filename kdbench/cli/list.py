"""`kdbench list`: what there is."""

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kdbench.cli.options import plugin_option
from kdbench.cli.output import json_option, write_json
from kdbench.registry import detectors
from kdbench.runs.listing import dataset_rows, detector_rows, method_rows


@click.command("list")
@click.argument("what", type=click.Choice(["methods", "detectors", "datasets"]))
@plugin_option
@json_option
def list_(what: str, json_file: str | None) -> None:
    """List methods, detectors or data sets, plugins included."""
    rows = {"methods": method_rows, "detectors": detector_rows, "datasets": dataset_rows}[what]()
    write_json(rows, json_file)
    if json_file == "-":
        return
    screen = Console()
    if what == "methods":
        rows = [_for_terminal(row) for row in rows]
    shown = [key for key in rows[0] if key not in ("variants", "options")]  # `--json` has them
    cells = [[_cell(row[key]) for key in shown] for row in rows]
    if what == "methods":  # many: a row a line, so the title, which is last, is cut to what is left
        columns = zip(shown[:-1], zip(*cells, strict=True), strict=False)
        taken = sum(3 + max(map(len, [key, *column])) for key, column in columns)
        left = max(12, screen.width - taken - 3)
        cells = [[*row[:-1], _cut(row[-1], left)] for row in cells]
    title = f"{len(rows)} {what}"
    if what == "methods":
        title += " for " + ", ".join(f"{i} {d}" for i, d in enumerate(detectors.names(), 1))
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in shown:
        table.add_column(name, no_wrap=what == "methods")
    for row in cells:
        table.add_row(*row)
    screen.print(table)


def _for_terminal(row: dict) -> dict:
    """A method's row with a narrow column for each detector."""
    needs = [need.split("|")[0] for need in row["needs"]]
    needs += [f"{need} of its teacher" for need in row["teacher_needs"]]
    applies = ["x" if name in row["detectors"] else "-" for name in detectors.names()]
    marks = {str(i): mark for i, mark in enumerate(applies, 1)}
    first = {"name": row["name"], "year": row["year"], "needs": needs}
    return first | marks | {"paper": row["paper"]}


def _cell(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items()) or "-"
    return ", ".join(value) if isinstance(value, list) else str(value or "-")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
