"""The leaderboard as text: columns once, for the terminal, Markdown and CSV."""

from itertools import groupby
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from kdbench.files import write_text
from kdbench.leaderboard.rows import Row, table_key
from kdbench.measure.contention import DISTURBED


def _number(key: str, form: str, scale: float = 1.0):
    return lambda row: "-" if row[key] is None else format(row[key] * scale, form)


def _gain(metric: str):
    """The gain; in parentheses when it is no more than noise."""

    def show(row: Row) -> str:
        gain = row[f"{metric}_gain"]
        if gain is None:
            return "-"
        return f"({gain:+.2f})" if row[f"{metric}_significant"] is False else f"{gain:+.2f}"

    return show


def _interval(metric: str):
    def show(row: Row) -> str:
        low, high = row[f"{metric}_gain_low"], row[f"{metric}_gain_high"]
        return "-" if low is None or row["method"] == "none" else f"{low:+.1f}..{high:+.1f}"

    return show


def _with_std(key: str):
    def show(row: Row) -> str:
        spread = row[f"{key}_std"]
        return f"{row[key]:.2f}" + (f"±{spread:.2f}" if spread is not None else "")

    return show


def _latency(key: str):
    def show(row: Row) -> str:
        return f"{row[key]:.1f}" + ("*" if row["latency_contention"] > DISTURBED else "")

    return show


# Title -> how a row shows there.
COLUMNS = {
    "method": lambda row: row["label"],
    "seeds": lambda row: str(len(row["seeds"])),
    "BEV mAP": _with_std("bev_map"),
    "gain": _gain("bev"),
    "95 %": _interval("bev"),
    "rec.": _number("bev_recovered", ".0%"),
    "3D mAP": _with_std("3d_map"),
    "gain 3D": _gain("3d"),
    "95 % 3D": _interval("3d"),
    "rec. 3D": _number("3d_recovered", ".0%"),
    "params M": _number("parameters", ".3f", 1e-6),
    "GMAC": _number("macs", ".3f", 1e-9),
    "ratio": lambda row: f"{row['ratio_parameters']:.1f}/{row['ratio_macs']:.1f}",
    "p50": _latency("latency_p50_ms"),
    "p90": _latency("latency_p90_ms"),
    "s/step": _number("seconds_per_step", ".3f"),
    "x none": _number("step_against_none", ".2f"),
    "peak GB": _number("peak_memory_bytes", ".2f", 1e-9),
}
# A terminal of 80 columns holds most of them, in two tables.
ACCURACY = ["method", "seeds", "BEV mAP", "gain", "95 %", "3D mAP", "gain 3D"]
COST = ["method", "params M", "GMAC", "ratio", "p50", "p90", "s/step", "x none"]

EXPLANATION = """
mAP: mean over the classes of KITTI AP at 40 recall positions, moderate difficulty, in percent.
gain: against `none` with the same seeds, and its 95 % interval over frames and seeds (one seed:
frames alone); (in parentheses): no more than noise, once all methods of the table are looked at
(Holm). rec.: recovered, gain as a share of what the teacher has
over `none`. ratio: measured, parameters and MACs, against the full width. p50, p90: latency at
batch 1 in ms (*: other programs disturbed it). s/step, x none: median training step, and against
`none`. ± is the standard deviation over seeds; a table of one seed says nothing about another.
""".strip().replace("\n", " ")


def sections(rows: list[Row]) -> list[tuple[str, list[Row]]]:
    """Titles and rows of the tables."""
    parts = []
    for key, group in groupby(rows, key=table_key):
        dataset, fingerprint, profile, device, detector, ratio = key
        title = f"{detector} at ratio {ratio:g} on {dataset} {fingerprint}"
        parts.append((f"{title}, {profile}, {device}", list(group)))
    return parts


def rich_tables(rows: list[Row]) -> list[Table]:
    """Tables for the terminal: accuracy and cost of each section."""
    return [
        _rich_table(f"{title}: {what}", group, columns)
        for title, group in sections(rows)
        for what, columns in (("accuracy", ACCURACY), ("cost", COST))
    ]


def _rich_table(title: str, rows: list[Row], columns: list[str]) -> Table:
    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for column in columns:
        name = column == "method"
        table.add_column(column, justify="left" if name else "right", no_wrap=True)
    for row in rows:
        noise = row["bev_significant"] is False and row["3d_significant"] is False
        cells = (COLUMNS[column](row) for column in columns)
        table.add_row(*cells, style="dim" if noise else None)
    return table


def markdown(rows: list[Row]) -> str:
    """The leaderboard as one Markdown page."""
    lines = ["# kdbench leaderboard", "", EXPLANATION, ""]
    for title, group in sections(rows):
        lines += [f"## {title}", "", "| " + " | ".join(COLUMNS) + " |"]
        lines.append("|" + "|".join("---" if c == "method" else "---:" for c in COLUMNS) + "|")
        lines += ["| " + " | ".join(f(row) for f in COLUMNS.values()) + " |" for row in group]
        lines.append("")
    return "\n".join(lines)


def write_tables(rows: list[Row], folder: Path) -> list[Path]:
    """Writes leaderboard.md and leaderboard.csv; returns their paths."""
    page, sheet = folder / "leaderboard.md", folder / "leaderboard.csv"
    write_text(page, markdown(rows))
    flat = [{k: v for k, v in row.items() if k not in ("options", "train")} for row in rows]
    write_text(sheet, pd.DataFrame(flat).to_csv(index=False))
    return [page, sheet]
