"""`kdbench compare`: the regression gate between two sets of records."""

import re
import sys
from pathlib import Path

import click
from rich.console import Console

from kdbench.cli.output import console, json_option, write_json
from kdbench.errors import KdbenchError, UsageError
from kdbench.leaderboard.changes import Limits
from kdbench.leaderboard.compare import compare as compare_records
from kdbench.leaderboard.comparison_text import all_notes, hidden, markdown, rich_tables, summary
from kdbench.storage.files import write_text


class Percentage(click.ParamType):
    """`10%` as 0.1. The sign is asked for: 0.1 could mean either."""

    name = "percentage"

    def convert(self, value, param, ctx) -> float:
        """The share. Fails for anything but a number and a percent sign."""
        if isinstance(value, float):
            return value
        if not re.fullmatch(r"\d+(\.\d+)?%", value.strip()):
            self.fail(f"{value!r} is not a percentage such as 10%", param, ctx)
        return float(value.strip()[:-1]) / 100


@click.command()
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--max-drop", type=click.FloatRange(min=0), default=0.5, show_default=True, metavar="POINTS",
    help="Drop of an AP that is tolerated.",
)  # fmt: skip
@click.option(
    "--max-slowdown", type=Percentage(), default="10%", show_default=True, metavar="PERCENT",
    help="Growth of the latency's p50 that is tolerated.",
)  # fmt: skip
@click.option(
    "--markdown", "page", metavar="FILE",
    help="Also write a comment for a pull request; `-` is standard output.",
)  # fmt: skip
@click.option("--allow-missing", is_flag=True,
              help="Pass although runs of BASE are not in NEW, or cannot be compared.")  # fmt: skip
@json_option
def compare(base, new, max_drop, max_slowdown, page, allow_missing, json_file) -> None:
    """Fail when NEW is worse than BASE; both are record files or results folders.

    Runs of the same spec are paired, and seeds of one cell are judged together. Exit code: 0 for
    no regression, 1 for a regression or a run of BASE that is not compared, 2 when the two cannot
    be compared at all.
    """
    if page == json_file == "-":
        raise UsageError("--markdown - and --json - both want standard output; give one a file")
    comparison = compare_records(base, new, Limits(max_drop, max_slowdown))
    write_json(comparison.to_dict(), json_file)
    _write_page(markdown(comparison), page)
    if "-" not in (page, json_file):
        _show(comparison)
    for line in comparison.uncompared:
        console.print(f"not compared: {line}", soft_wrap=True, markup=False)
    if comparison.regressions or (comparison.uncompared and not allow_missing):
        raise KdbenchError(summary(comparison))


def _write_page(text: str, page: str | None) -> None:
    if page == "-":
        sys.stdout.write(text)
    elif page is not None:
        write_text(page, text)


def _show(comparison) -> None:
    screen = Console(highlight=False)
    for table in rich_tables(comparison):
        screen.print(table)
    for line in (*hidden(comparison), summary(comparison)):
        screen.print(line, soft_wrap=True, markup=False)
    for note in all_notes(comparison):
        console.print(f"note: {note}", soft_wrap=True, markup=False)
