"""The leaderboard as text: for the terminal, Markdown and CSV."""

import re
from collections import defaultdict
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from kdbench.evaluation.resample import METRICS
from kdbench.leaderboard import bands
from kdbench.leaderboard.columns import COLUMNS, EXPLANATION, TABLES, Column, is_noise
from kdbench.leaderboard.rows import Row, table_key
from kdbench.storage.files import write_text

# A terminal of 80 columns holds most of them, in three tables. Of many rows it shows the first
# one alone: nobody reads thousands of lines there, and to lay them out takes seconds.
TERMINAL = {
    "accuracy": ["method", "seeds", "BEV mAP", "gain", "95 %", "3D mAP", "gain 3D"],
    "beyond mAP": ["method", "worst", "worst 3D", "agree", "IoU", "rho", "D-ECE"],
    "cost": ["method", "params M", "GMAC", "ratio", "p50", "p90", "s/step", "x none", "x all"],
}
LONG = 200  # rows
NESTED = ("options", "train", "settings", "bands", "reliability")  # no columns of a sheet


def sections(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Titles and rows of the tables."""
    groups: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        groups[table_key(row)].append(row)
    return [(table_title(key), group) for key, group in groups.items()]


def table_title(key: tuple) -> str:
    """A table in words."""
    dataset, fingerprint, profile, device, detector, ratio = key
    return f"{detector} at ratio {ratio:g} on {dataset} {fingerprint}, {profile}, {device}"


def rich_tables(rows: list[Row]) -> list[Table]:
    """Tables for the terminal: accuracy, behaviour and cost of each section."""
    shown = TERMINAL if len(rows) <= LONG else {"accuracy": TERMINAL["accuracy"]}
    return [
        _rich_table(f"{title}: {what}", group, columns)
        for title, group in sections(rows)
        for what, columns in shown.items()
    ]


def _rich_table(title: str, rows: list[Row], columns: list[str]) -> Table:
    table = Table(
        title=Text(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    cells = {column: [COLUMNS[column].show(row) for row in rows] for column in columns}
    for column, texts in cells.items():
        if column == "method":
            table.add_column(column, overflow="fold")
        else:  # where a terminal is narrow names are folded: a figure cut short is another figure
            table.add_column(column, justify="right", min_width=max(map(len, [column, *texts])))
    for i, row in enumerate(rows):
        noise = is_noise(row, "bev") and is_noise(row, "3d")
        table.add_row(*(Text(texts[i]) for texts in cells.values()), style="dim" if noise else None)
    return table


def named_tables(rows: list[Row]) -> dict[str, dict[str, Column]]:
    """The tables of one section by name, each with its columns."""
    by_band = {
        f"{metric.upper()} AP by band": bands.band_columns(rows, metric) for metric in METRICS
    }
    return TABLES | {name: columns for name, columns in by_band.items() if columns}


def markdown(rows: list[Row]) -> str:
    """The leaderboard as one Markdown page."""
    lines = ["# kdbench leaderboard", "", EXPLANATION, "", bands.EXPLANATION, ""]
    for title, group in sections(rows):
        lines += [f"## {_plain_text(title)}", ""]
        for name, columns in named_tables(group).items():
            lines += [f"### {name}", "", *_markdown_table(group, columns), ""]
    return "\n".join(lines)


def _markdown_table(rows: list[Row], columns: dict[str, Column]) -> list[str]:
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("---" if c == "method" else "---:" for c in columns) + "|",
        *("| " + " | ".join(_plain_text(c.show(r)) for c in columns.values()) + " |" for r in rows),
    ]


def _plain_text(text: str) -> str:
    """Text that Markdown shows as it is: a bar would end the cell, `<b>` would be HTML."""
    return re.sub(r"([\\|<>`\[\]&])", r"\\\1", text)


def write_tables(rows: list[Row], folder: Path) -> list[Path]:
    """Writes leaderboard.md and leaderboard.csv; returns their paths."""
    page, sheet = folder / "leaderboard.md", folder / "leaderboard.csv"
    write_text(page, markdown(rows))
    flat = [{k: v for k, v in row.items() if k not in NESTED} for row in rows]
    write_text(sheet, pd.DataFrame(flat).to_csv(index=False))
    return [page, sheet]
