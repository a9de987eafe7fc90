"""Runs the cells of a sweep: each when what it needs is done, a failed one a second time."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from kdbench.errors import NotApplicable
from kdbench.runs.spec import RunSpec
from kdbench.sweep.plan import (
    CACHED,
    DONE,
    FAILED,
    NOT_APPLICABLE,
    READY,
    RUNNING,
    SKIPPED,
    Cell,
)

ATTEMPTS = 2
GOOD = (CACHED, DONE)


class Engine(Protocol):
    """Where cells run: processes of this machine, or tasks of a cluster."""

    def free(self) -> bool:
        """Whether another cell can be started now."""

    def start(self, cell: Cell) -> None:
        """Starts a cell and returns at once."""

    def finished(self) -> list[tuple[Cell, int, str]]:
        """Cells that ended since the last call: exit code, and the last line of what they said."""

    def stop(self) -> None:
        """Ends all cells; they can go on later from where they were."""


@dataclass
class Schedule:
    """One sweep under way. `changed` is called whenever a cell's state has changed."""

    cells: list[Cell]
    engine: Engine
    find: Callable[[Cell], dict | None]  # the record of a cell, once it is done
    # A run as it can be known once what it needs is done: with its teacher's weights.
    complete: Callable[[RunSpec], RunSpec] = lambda spec: spec
    changed: Callable[[], None] = lambda: None
    pause: float = 0.2  # seconds between two looks
    by_key: dict[str, Cell] = field(init=False)

    def __post_init__(self):
        self.by_key = {cell.key: cell for cell in self.cells}
        self._started: dict[str, float] = {}

    def run(self) -> None:
        """Runs until no cell is left. On an interrupt, stops the engine and passes it on."""
        try:
            while self.open:
                self._skip()
                while self.engine.free() and (cell := self._next()):
                    self._start(cell)
                for ended in self.engine.finished():
                    self._end(*ended)
                self.changed()
                if self.open:
                    time.sleep(self.pause)
        finally:
            self.engine.stop()

    @property
    def open(self) -> bool:
        """Whether a cell is running or waits."""
        return any(cell.state in (READY, RUNNING) for cell in self.cells)

    def _next(self) -> Cell | None:
        for cell in self.cells:
            if cell.state == READY and all(self._good(key) for key in cell.needs):
                return cell
        return None

    def _good(self, key: str) -> bool:
        return self.by_key[key].state in GOOD

    def _skip(self) -> None:
        """Gives up cells that need one which will not come."""
        for cell in self.cells:
            bad = [k for k in cell.needs if self.by_key[k].state in (FAILED, SKIPPED)]
            if cell.state == READY and bad:
                cell.state = SKIPPED
                cell.reason = f"needs {self.by_key[bad[0]].spec.label}, which failed"

    def _start(self, cell: Cell) -> None:
        cell.state, cell.attempts = RUNNING, cell.attempts + 1
        cell.spec = self.complete(cell.spec)
        self._started[cell.key] = time.monotonic()
        self.engine.start(cell)

    def _end(self, cell: Cell, code: int, said: str) -> None:
        cell.seconds = time.monotonic() - self._started[cell.key]
        cell.record = self.find(cell) if code == 0 else None
        if cell.record is not None:
            cell.state, cell.reason = DONE, ""
        elif code == NotApplicable.exit_code:
            cell.state, cell.reason = NOT_APPLICABLE, said
        else:
            cell.state = FAILED if cell.attempts >= ATTEMPTS else READY
            cell.reason = said or f"exit code {code}"
