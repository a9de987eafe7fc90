"""The leaderboard as one HTML file that needs no other file and no network."""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kdbench.evaluation.filled_ap import METRICS
from kdbench.leaderboard import bands, claims_view, plots, proxy, pull_columns
from kdbench.leaderboard.columns import (
    ACCURACY,
    BEHAVIOUR,
    COSTS,
    EXPLANATION,
    WORTH,
    Column,
    is_noise,
    known,
    number,
)
from kdbench.leaderboard.curves import LogPath, training_curves
from kdbench.leaderboard.matrix import Applicable, matrices
from kdbench.leaderboard.overall import overall_table
from kdbench.leaderboard.provenance import environments, made, repeat
from kdbench.leaderboard.reliability import diagrams
from kdbench.leaderboard.rows import Row, ladder_of, without_teacher
from kdbench.leaderboard.scatter import LATENCY, PARAMETERS, STEPS, scatter
from kdbench.leaderboard.tables import sections
from kdbench.runs.records import Record
from kdbench.storage.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
FILTERS = ("dataset", "profile", "detector", "ratio", "steps")


@dataclass(frozen=True)
class Picture:
    """A picture that goes into the page."""

    caption: str
    png: bytes

    @property
    def uri(self) -> str:
        """The picture as an address that holds it."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode()


@dataclass(frozen=True)
class Sources:
    """What the page shows beside the rows; all of it may be missing."""

    records: Mapping[str, Record] = field(default_factory=dict)  # by hash
    applicable: Applicable = field(default_factory=dict)
    pictures: Mapping[str, Sequence[Picture]] = field(default_factory=dict)  # by title of a table
    log_path: LogPath = Path  # of a run's hash


def write_page(rows: list[Row], sources: Sources, folder: Path) -> Path:
    """Writes index.html; returns its path."""
    path = folder / "index.html"
    write_text(path, page(rows, sources))
    return path


def page(rows: list[Row], sources: Sources) -> str:
    """The page. Every text of a record is escaped: a plugin may have any name."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    beside: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        if row["method"] == "none":
            beside[_of_any_ratio(row)].append(row)
        if row["role"] == "student":
            beside[ladder_of(row)].append(row)
    return environment.get_template("index.html").render(
        explanations=[
            EXPLANATION,
            bands.EXPLANATION,
            pull_columns.EXPLANATION,
            claims_view.EXPLANATION,
            proxy.EXPLANATION,
        ],
        metrics=METRICS,
        filters={name: sorted({_choice(row, name) for row in rows}) for name in FILTERS},
        sections=[_section(title, group, beside, sources) for title, group in sections(rows)],
        matrices=matrices(rows, sources.applicable),
        proxies=_lines(proxy.proxies(rows), proxy.COLUMNS),
        orders=[(m, found) for m in METRICS if (found := overall_table(rows, m))],
    )


def _of_any_ratio(row: Row) -> tuple:
    return without_teacher(row)[:-1]


def _choice(row: Row, name: str) -> str:
    return f"{row[name]:g}" if name == "ratio" else str(row[name])


def _section(title: str, rows: list[Row], beside: dict, sources: Sources) -> dict:
    """What the template shows of one table. `beside`: rows of other tables that plots need."""
    return {
        "title": title,
        "choices": {name: _choice(rows[0], name) for name in FILTERS},
        "rows": [
            {"label": row["label"], "noise": all(is_noise(row, m) for m in METRICS)} for row in rows
        ],
        "notes": rows[0]["table"]["notes"],
        "accuracy": _table(rows, ACCURACY),
        "worth": _table(rows, WORTH),
        "behaviour": _table(rows, BEHAVIOUR),
        "costs": _table(rows, COSTS),
        "pull": _table(rows, columns) if (columns := pull_columns.pull_columns(rows)) else None,
        "claims": _claims(rows[0]["table"]["claims"]),
        "bands": [(m, _table(rows, c)) for m in METRICS if (c := bands.band_columns(rows, m))],
        "reliability": [(metric, diagrams(rows, metric)) for metric in METRICS],
        "gains": [_gains(rows, metric) for metric in METRICS],
        "budgets": _budgets(rows, beside),
        "scatters": _scatters(rows, beside[_of_any_ratio(rows[0])]),
        "curves": plots.curve_plot(training_curves(rows, sources.log_path), rows),
        "pictures": sources.pictures.get(title, ()),
        "commands": [repeat(row, sources.records) for row in rows],
        "environments": environments(rows, sources.records),
        "made": made(rows, sources.records),
    }


def _claims(claims: list[Row]) -> dict:
    return _lines(claims, claims_view.COLUMNS) | {"plot": claims_view.claims_plot(claims)}


def _lines(lines: list[Row], columns: Mapping[str, Column]) -> dict:
    """A table of which the lines are no rows of the leaderboard."""
    return {
        "head": [(title, column.about) for title, column in columns.items()],
        "body": [[column.show(line) for column in columns.values()] for line in lines],
    }


def _table(rows: list[Row], columns: Mapping[str, Column]) -> dict:
    return {
        "head": [(title, column.about) for title, column in columns.items()],
        "body": [[(c.show(row), _sort_value(row, c)) for c in columns.values()] for row in rows],
    }


def _sort_value(row: Row, column: Column) -> Any:
    """What a cell is sorted by: text, a number, or nothing, which comes last."""
    value = len(row["seeds"]) if column.key == "seed_count" else row.get(column.key)
    return value if isinstance(value, str) else _rounded(value)


def _rounded(value: float | None) -> str:
    return f"{value:.6g}" if known(value) else ""


def _gains(rows: list[Row], metric: str) -> dict:
    """Gains on average and by class, with their intervals."""
    keys = plots.gain_keys(rows, metric)
    scale = plots.gain_scale(rows, keys.values())
    body = [
        [
            (plots.whisker(r, k, scale), number(r.get(k), "+.1f"), _rounded(r.get(k)))
            for k in keys.values()
        ]
        for r in rows
    ]
    return {"metric": metric, "head": list(keys), "axis": plots.whisker_axis(scale), "body": body}


def _budgets(rows: list[Row], beside: dict) -> list[tuple[str, Any]]:
    """Plots of accuracy against training steps, by metric; empty without a ladder of `none`."""
    students = [row for row in rows if row["role"] == "student"]
    own = next((row for row in students if row["method"] == "none"), None)
    others = [r for r in beside[ladder_of(own)] if r["steps"] != own["steps"]] if own else []
    ladder = {row["steps"]: row for row in others if row["method"] == "none"}  # in several tables
    taught = [r for r in others if r["method"] != "none" and r["teacher"] == own["teacher"]]
    elsewhere = [*ladder.values(), *taught]
    return [(m, scatter(students, elsewhere, m, STEPS)) for m in METRICS] if ladder else []


def _scatters(rows: list[Row], plain: list[Row]) -> list[tuple[str, Any]]:
    """Plots of accuracy against cost, each with the metric it is of.

    `plain` are the rows of `none` at every ratio.
    """
    elsewhere = [row for row in plain if row["ratio"] != rows[0]["ratio"]]
    return [(m, scatter(rows, elsewhere, m, c)) for c in (LATENCY, PARAMETERS) for m in METRICS]
