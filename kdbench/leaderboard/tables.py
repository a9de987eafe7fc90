"""The leaderboard as text: for the terminal, Markdown and CSV."""

import re
from collections import defaultdict
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from kdbench.evaluation.resample import METRICS
from kdbench.leaderboard import bands, claims_view, proxy, pull_columns
from kdbench.leaderboard.answer import answers
from kdbench.leaderboard.columns import COLUMNS, EXPLANATION, TABLES, Column, is_noise
from kdbench.leaderboard.overall import overall_table
from kdbench.leaderboard.proxy import proxies
from kdbench.leaderboard.rows import TABLE, Row, table_key
from kdbench.storage.files import write_text

# A terminal of 80 columns holds most of them, in three tables. Of many rows it shows the first
# one alone: nobody reads thousands of lines there, and to lay them out takes seconds.
TERMINAL = {
    "accuracy": ["method", "seeds", "BEV mAP", "gain", "95 %", "3D mAP", "gain 3D"],
    "worth": ["method", "worth", "worth 3D", "cost", "net", "net 3D", "real gain", "real gain 3D"],
    "beyond mAP": ["method", "worst", "worst 3D", "agree", "IoU", "rho", "D-ECE"],
    "cost": ["method", "params M", "GMAC", "ratio", "p50", "p90", "s/step", "x none", "x all"],
}
LONG = 200  # rows
WORDS = ("method", "claim", "tables")  # columns that hold no numbers
NESTED = (
    "options",
    "train",
    "settings",
    "network",
    "bands",
    "reliability",
    "table",
    "none",
    "bev_map_seeds",
    "3d_map_seeds",
)  # no columns of a sheet


def sections(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Titles and rows of the tables."""
    groups: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        groups[table_key(row)].append(row)
    return list(zip(titles(list(groups)), groups.values(), strict=True))


def titles(keys: list[tuple]) -> list[str]:
    """Tables in words; what the words do not tell apart is added: options, or the teacher."""
    tables = [dict(zip(TABLE, key, strict=True)) for key in keys]
    found = [table_title(table) for table in tables]
    for what in (_options_in_words, _teacher_in_words):
        alike: dict[str, list[Row]] = defaultdict(list)
        for title, table in zip(found, tables, strict=True):
            alike[title].append(table)
        found = [
            title + (what(table, alike[title]) if len(alike[title]) > 1 else "")
            for title, table in zip(found, tables, strict=True)
        ]
    return found


def table_title(table: Row) -> str:
    """A table in words, from what its rows have in common."""
    half = "" if table["precision"] == "float32" else f", {table['precision']}"
    return (
        f"{table['detector']} at ratio {table['ratio']:g} on {table['dataset']} "
        f"{table['fingerprint']}, {table['profile']}, {table['steps']:,} steps{half}, "
        f"{table['device']}{_other_teacher(table)}"
    )


def _other_teacher(table: Row) -> str:
    """The detector of a teacher that is of another one than its students."""
    detector = (table["teacher"] or "").partition(" of ")[2]
    return f", taught by {detector}" if detector else ""


def _options_in_words(table: Row, alike: list[Row]) -> str:
    """The detector's options that are not the same in all of `alike`."""
    own, others = dict(table["network"]), [dict(other["network"]) for other in alike]
    names = dict.fromkeys(name for other in others for name in other)
    differing = [name for name in names if len({other.get(name) for other in others}) > 1]
    return "".join(f", {name} {own.get(name)}" for name in differing)


def _teacher_in_words(table: Row, alike: list[Row]) -> str:
    return f", teacher {table['teacher']}"


def rich_tables(rows: list[Row]) -> list[Table]:
    """Tables for the terminal: accuracy, behaviour and cost of each section."""
    shown = TERMINAL if len(rows) <= LONG else {"accuracy": TERMINAL["accuracy"]}
    return [
        _rich_table(f"{title}: {what}", group, columns)
        for title, group in sections(rows)
        for what, columns in shown.items()
        if what != "worth" or _has_worth(group)
    ]


def _has_worth(rows: list[Row]) -> bool:
    """Whether there is a ladder of `none`, or a figure on real frames."""
    keys = ("bev_worth", "real_bev_map")
    return any(row[key] is not None for row in rows for key in keys)


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
    pull = {"Pull": columns} if (columns := pull_columns.pull_columns(rows)) else {}
    return TABLES | pull | {name: columns for name, columns in by_band.items() if columns}


def markdown(rows: list[Row]) -> str:
    """The leaderboard as one Markdown page."""
    lines = ["# kdbench leaderboard", "", EXPLANATION, "", bands.EXPLANATION, ""]
    if any(row["pull_reached"] for row in rows):
        lines += [pull_columns.EXPLANATION, ""]
    lines += [line for text in answers(sections(rows)) for line in (f"- {_plain_text(text)}", "")]
    for title, group in sections(rows):
        lines += [f"## {_plain_text(title)}", ""]
        lines += [*(f"- {_plain_text(note)}." for note in group[0]["table"]["notes"]), ""]
        for name, columns in named_tables(group).items():
            lines += [f"### {name}", "", *_markdown_table(group, columns), ""]
        if claims := group[0]["table"]["claims"]:
            lines += ["### Reported and measured", "", claims_view.EXPLANATION, ""]
            lines += [*_markdown_table(claims, claims_view.COLUMNS), ""]
    if found := proxies(rows):
        lines += ["## Does a short training tell?", "", proxy.EXPLANATION, ""]
        lines += [*_markdown_table(found, proxy.COLUMNS), ""]
    for metric in METRICS:
        if found := overall_table(rows, metric):
            columns = {t: Column(t, lambda line, t=t: line[t]) for t in found[0]}
            lines += [f"## All tables together, {metric.upper()}: share of the teacher's lead", ""]
            lines += [*_markdown_table(found, columns), ""]
    return "\n".join(lines)


def _markdown_table(rows: list[Row], columns: dict[str, Column]) -> list[str]:
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("---" if c in WORDS else "---:" for c in columns) + "|",
        *("| " + " | ".join(_plain_text(c.show(r)) for c in columns.values()) + " |" for r in rows),
    ]


def _plain_text(text: str) -> str:
    """Text that Markdown shows as it is: a bar would end the cell, `<b>` would be HTML."""
    return re.sub(r"([\\|<>`\[\]&])", r"\\\1", text)


def write_tables(rows: list[Row], folder: Path) -> list[Path]:
    """Writes leaderboard.md and leaderboard.csv; returns their paths."""
    page, sheet = folder / "leaderboard.md", folder / "leaderboard.csv"
    write_text(page, markdown(rows))
    write_text(sheet, data_frame(rows).to_csv(index=False))
    return [page, sheet]


def data_frame(rows: list[Row]) -> pd.DataFrame:
    """A line a row: all its plain values, under their stable keys."""
    return pd.DataFrame([{k: v for k, v in row.items() if k not in NESTED} for row in rows])
