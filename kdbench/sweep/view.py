"""How a sweep is shown: the plan, the cells while they run, and what came of them."""

import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kdbench.runs.store import run_folder
from kdbench.sweep.plan import CACHED, DONE, FAILED, NOT_APPLICABLE, READY, RUNNING, SKIPPED, Cell

SHOWN = 20  # lines of a plan or of a live table
STYLES = {RUNNING: "bold", DONE: "green", FAILED: "red", SKIPPED: "red", READY: "dim"}


def plan_table(cells: list[Cell], jobs: int) -> Group:
    """How many cells there are of each state, what is to be run, and how long it may take."""
    table = Table("cell", "seeds to run", "cached", "not applicable", box=SIMPLE_HEAD)
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        rows.setdefault(f"{cell.spec.cell} {cell.spec.method.name}", []).append(cell)
    for name, group in rows.items():
        seeds = [str(c.spec.seed) for c in group if c.state == READY]
        counts = Counter(c.state for c in group)
        table.add_row(
            name, ", ".join(seeds) or "-", str(counts[CACHED]), str(counts[NOT_APPLICABLE])
        )
    counts = Counter(cell.state for cell in cells)
    estimate = remaining_seconds(cells, jobs)
    known = "" if estimate is None else f", about {_minutes(estimate)} by the runs of this kind"
    text = ", ".join(f"{counts[state]} {state}" for state in (READY, CACHED, NOT_APPLICABLE))
    return Group(table, Text(f"{len(cells)} cells: {text}{known}"))


def remaining_seconds(cells: list[Cell], jobs: int) -> float | None:
    """An estimate, from what finished runs took; None when there are none of some kind."""
    by_kind: dict[tuple, list[float]] = {}
    for cell in cells:
        if cell.record is not None:
            by_kind.setdefault(_kind(cell), []).append(cell.record["training"]["seconds"])
    waiting = [cell for cell in cells if cell.state in (READY, RUNNING)]
    if any(_kind(cell) not in by_kind for cell in waiting):
        return None
    return sum(statistics.median(by_kind[_kind(cell)]) for cell in waiting) / jobs


def _kind(cell: Cell) -> tuple:
    return cell.spec.detector.name, cell.spec.detector.ratio


@contextmanager
def watching(cells: list[Cell], console: Console) -> Iterator[Callable[[], None]]:
    """Yields a function to call when cells may have changed.

    A terminal shows a table of what runs; elsewhere each change of state is a line.
    """
    if not console.is_terminal:
        yield Lines(cells, console)
        return
    with Live(status_table(cells), console=console, refresh_per_second=2) as live:
        yield lambda: live.update(status_table(cells))


def status_table(cells: list[Cell]) -> Table:
    """What runs now, what ended last, and how much is left."""
    counts = Counter(cell.state for cell in cells)
    left = counts[READY] + counts[RUNNING]
    title = ", ".join(f"{n} {state}" for state, n in counts.items())
    table = Table("run", "state", "step", "BEV / 3D mAP", title=title, box=SIMPLE_HEAD)
    ended = [c for c in cells if c.state not in (READY, RUNNING, CACHED, NOT_APPLICABLE)]
    running = [c for c in cells if c.state == RUNNING]
    for cell in [*ended[-SHOWN:], *running]:
        table.add_row(cell.spec.label, cell.state, progress(cell), _maps(cell),
                      style=STYLES.get(cell.state))  # fmt: skip
    table.caption = f"{left} of {len(cells)} left"
    return table


def progress(cell: Cell) -> str:
    """`213/450`, from the log of the training."""
    if cell.state != RUNNING:
        return f"{cell.seconds:.0f} s" if cell.seconds else ""
    path = run_folder(cell.spec) / "log.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    try:
        step = json.loads(lines[-1])["step"] if lines else 0
    except (ValueError, KeyError):  # a line that is being written
        return ""
    return f"{step}/{cell.spec.train.steps}"


class Lines:
    """A line for each change of state, for logs."""

    def __init__(self, cells: list[Cell], console: Console):
        self.cells, self.console = cells, console
        self.seen = {cell.key: (cell.state, cell.attempts) for cell in cells}
        self.begun = time.monotonic()

    def __call__(self) -> None:
        for cell in self.cells:
            now = (cell.state, cell.attempts)
            if self.seen[cell.key] == now:
                continue
            self.seen[cell.key] = now
            text = f"{cell.spec.label}: {cell.state} {_maps(cell)} {cell.reason}"
            self.console.print(text.strip(), soft_wrap=True, markup=False)


def summary(cells: list[Cell], log_path: Callable[[Cell], Path]) -> Text:
    """How many cells ended how; of those that failed, why, and where their log is."""
    counts = Counter(cell.state for cell in cells)
    lines = [", ".join(f"{n} {state}" for state, n in counts.items())]
    for cell in cells:
        if cell.state == FAILED:
            lines.append(f"{cell.spec.label}: {cell.reason}; log: {log_path(cell)}")
        elif cell.state in (SKIPPED, NOT_APPLICABLE):
            lines.append(f"{cell.spec.label}: {cell.reason}")
    return Text("\n".join(lines))


def _maps(cell: Cell) -> str:
    if cell.record is None:
        return ""
    metrics = cell.record["metrics"]
    return f"{metrics['bev_map']:.2f} / {metrics['3d_map']:.2f}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{max(1, round(seconds / 60))} min"
