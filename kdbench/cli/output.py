"""What commands share in their output: tables for people, JSON for programs."""

import codecs
import io
import json
import sys
from pathlib import Path

import click
from rich.console import Console

from kdbench.errors import UsageError
from kdbench.storage.files import check_place, write_text

console = Console(stderr=True, highlight=False)  # progress and notes; standard output is for data

# What a terminal without these characters shows in their place; of others a question mark.
_ASCII = {"±": "+-", "†": "+", "–": "-", "—": "-", "…": "...", "×": "x", "→": "->", "≥": ">="}


def encodable_streams() -> None:
    """Has characters that a terminal does not know replaced, rather than the command stopped."""
    codecs.register_error("kdbench", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="kdbench")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    found = error.object[error.start : error.end]
    return "".join(_ASCII.get(c, "?") for c in found), error.end


def _place(context, option, value: str | None) -> str | None:
    """The option's value. Raises now rather than after the work when it cannot be written."""
    if value is not None and value != "-":
        if Path(value).is_dir():
            raise UsageError(f"--json {value}: a folder; give a file in it")
        check_place(Path(value))
    return value


json_option = click.option(
    "--json",
    "json_file",
    metavar="FILE",
    callback=_place,
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


def name_left_out(problems: list[str]) -> None:
    """A line for each record that cannot be read."""
    for problem in problems:
        console.print(f"left out: {problem}", soft_wrap=True, markup=False)
