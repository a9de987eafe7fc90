"""What commands share in their output: tables for people, JSON for programs."""

import json
import sys

import click
from rich.console import Console

from kdbench.storage.files import write_text

console = Console(stderr=True, highlight=False)  # progress and notes; standard output is for data

json_option = click.option(
    "--json",
    "json_file",
    metavar="FILE",
    help="Also write the result as JSON to FILE; `-` is standard output.",
)


def write_json(value, json_file: str | None) -> None:
    """Writes `value` to `json_file` when one was asked for (`-`: standard output)."""
    if json_file is None:
        return
    text = json.dumps(value, indent=1, sort_keys=False) + "\n"
    if json_file == "-":
        sys.stdout.write(text)
    else:
        write_text(json_file, text)
