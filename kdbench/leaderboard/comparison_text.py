"""A comparison as text: for the terminal, and as a comment on a pull request."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from kdbench.leaderboard.changes import IMPROVEMENT, REGRESSION, SAME, Change
from kdbench.leaderboard.compare import Cell, Comparison

MARKS = {REGRESSION: "❌ ", IMPROVEMENT: "✅ "}
STYLES = {REGRESSION: "red", IMPROVEMENT: "green"}
COLUMNS = ("figure", "BASE", "NEW", "change", "95 % interval", "verdict")
MOST_CELLS = 20  # that are shown: a comment may hold 65,536 characters
TITLES = {"latency_p50_ms": "latency p50, ms", "parameters": "parameters", "macs": "MACs"}


def summary(comparison: Comparison) -> str:
    """The outcome in one line."""
    cells = comparison.cells
    runs = sum(len(cell.seeds) for cell in cells)
    compared = f"{_count(runs, 'run')} in {_count(len(cells), 'cell')} compared"
    worse = comparison.regressions
    left = comparison.uncompared
    if not worse and left:
        more = f", and {len(left) - 1} more" if len(left) > 1 else ""
        return (
            f"No regression, but {_count(len(left), 'run')} of BASE not compared: {left[0]}{more}; "
            f"{compared}."
        )
    if not worse:
        return f"No regression: {compared}."
    cell, change = worse[0]
    first = f"{title(change.figure)} {_span(change)} in {cell.label}"
    more = f", and {len(worse) - 1} more" if len(worse) > 1 else ""
    return f"{_count(len(worse), 'regression')}: {first}{more}; {compared}."


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def title(figure: str) -> str:
    """A figure's name for people: `bev_car` is `BEV car`."""
    metric, _, what = figure.partition("_")
    return TITLES.get(figure) or f"{metric.upper()} {'mAP' if what == 'map' else what}"


def _span(change: Change) -> str:
    return f"{_value(change, change.base)} -> {_value(change, change.new)}"


def _value(change: Change, value: float) -> str:
    exact = change.figure in ("parameters", "macs")
    return f"{value:,.0f}" if exact else f"{value:.2f}"


def _row(change: Change) -> tuple[str, ...]:
    """The cells of COLUMNS."""
    relative = change.figure in TITLES
    ratio = change.new / change.base - 1 if relative and change.base else 0.0
    moved = f"{ratio:+.1%}" if relative else f"{change.new - change.base:+.2f}"
    interval = "" if change.low is None else f"{change.low:+.2f} .. {change.high:+.2f}"
    p = "" if change.p is None else f"p = {change.p:.2g}"
    return (
        title(change.figure), _value(change, change.base), _value(change, change.new),
        "" if change.verdict == SAME else moved, interval or p,
        change.verdict,
    )  # fmt: skip


def shown(comparison: Comparison) -> Sequence[Cell]:
    """The cells worth a table: those that changed, the worst first; a single one always."""
    cells = comparison.cells
    return cells if len(cells) == 1 else list(filter(_telling, cells))[:MOST_CELLS]


def _telling(cell: Cell) -> bool:
    """Whether anything but the latency changed, which always does, or anything became worse."""
    untimed = (change for change in cell.changes if change.figure != "latency_p50_ms")
    return bool(cell.regressions) or any(change.verdict != SAME for change in untimed)


def hidden(comparison: Comparison) -> list[str]:
    """What is to be said of the cells that are not shown; empty when there are none."""
    total = len(comparison.cells)
    if total == len(shown(comparison)):
        return []
    unchanged = total - sum(map(_telling, comparison.cells))
    others = _count(total - len(shown(comparison)), "cell")
    return [f"Not shown: {others}, {unchanged:,} of them without a change in AP or cost."]


def _heading(cell: Cell) -> str:
    return f"{cell.label}, seed{'s' * (len(cell.seeds) > 1)} {', '.join(map(str, cell.seeds))}"


def all_notes(comparison: Comparison) -> list[str]:
    """Every note once; those about a few of many cells say which."""
    where: dict[str, list[str]] = {}
    for cell in comparison.cells:
        for note in cell.notes:
            where.setdefault(note, []).append(cell.label)
    total = len(comparison.cells)
    return [*comparison.notes, *(note + _scope(labels, total) for note, labels in where.items())]


def _scope(labels: list[str], total: int) -> str:
    if len(labels) == total:
        return ""
    return f" ({labels[0]}" + (f" and {len(labels) - 1} more" if len(labels) > 1 else "") + ")"


def rich_tables(comparison: Comparison) -> list[Table]:
    """A table for each cell of `shown`."""
    tables = []
    for cell in shown(comparison):
        table = Table(
            title=_heading(cell), title_justify="left", box=SIMPLE_HEAD, pad_edge=False,
            padding=(0, 1, 0, 0),
        )  # fmt: skip
        for column in COLUMNS:
            left = column in ("figure", "verdict")
            table.add_column(column, justify="left" if left else "right", no_wrap=True)
        for change in cell.changes:
            table.add_row(*_row(change), style=STYLES.get(change.verdict))
        tables.append(table)
    return tables


def markdown(comparison: Comparison) -> str:
    """A comment for a pull request: the outcome, tables, and notes to unfold."""
    limits = comparison.limits
    lines = [f"**{summary(comparison)}**", ""]
    for cell in shown(comparison):
        lines += [_heading(cell), "", *_markdown_table(cell), ""]
    lines += [*hidden(comparison), ""]
    rule = (
        f"A regression is a drop of AP by more than {limits.max_drop:g} points outside its noise, "
        f"a p50 more than {limits.max_slowdown:.0%} slower in a rank test too, or more parameters "
        "or MACs. AP: moderate, 40 recall positions, mean over seeds."
    )
    notes = [f"- {note}" for note in (rule, *all_notes(comparison))]
    lines += ["<details><summary>Notes</summary>", "", *notes, "", "</details>", ""]
    return "\n".join(lines)


def _markdown_table(cell: Cell) -> list[str]:
    ruler = "|" + "|".join("---" if c in ("figure", "verdict") else "---:" for c in COLUMNS) + "|"
    lines = [f"| {' | '.join(COLUMNS)} |", ruler]
    for change in cell.changes:
        *figures, verdict = _row(change)
        lines.append(f"| {' | '.join(figures)} | {MARKS.get(change.verdict, '')}{verdict} |")
    return lines
