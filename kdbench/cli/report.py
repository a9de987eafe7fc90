"""`kdbench report`: the leaderboard of a results folder."""

from pathlib import Path

import click
from rich.console import Console

from kdbench.cli.output import console, json_option, write_json
from kdbench.errors import KdbenchError
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.tables import EXPLANATION, rich_tables, write_tables
from kdbench.records import read_records


@click.command()
@click.option("--results", default="results", show_default=True, help="Folder of records.")
@click.option("--out", help="Folder for leaderboard.md and leaderboard.csv [the results folder].")
@json_option
def report(results: str, out: str | None, json_file: str | None) -> None:
    """Print the leaderboard and write it as Markdown and CSV."""
    problems: list[str] = []
    records = read_records(Path(results), problems)
    for problem in problems:
        console.print(f"left out: {problem}", soft_wrap=True)
    if problems:
        console.print(f"{len(problems)} files of {results} were left out")
    if not records:
        raise KdbenchError(f"{results}: no records in it; `kdbench run` makes them")
    rows = leaderboard(records)
    if json_file != "-":
        screen = Console()
        for table in rich_tables(rows):
            screen.print(table)
        screen.print(EXPLANATION, style="dim")
    for path in write_tables(rows, Path(out or results)):
        console.print(f"wrote {path}", soft_wrap=True)
    write_json(rows, json_file)
