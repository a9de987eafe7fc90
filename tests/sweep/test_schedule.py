"""Order, retries and what a failure costs, with an engine that only pretends."""

from dataclasses import dataclass, field

import pytest

from kdbench.runs.spec import RunSpec
from kdbench.sweep.plan import CACHED, DONE, FAILED, NOT_APPLICABLE, READY, SKIPPED, Cell
from kdbench.sweep.schedule import Schedule

A, B, C, D = (Cell(RunSpec(seed=s)).key for s in range(4))


@dataclass
class Pretended:
    """Ends the oldest running cell at each look, with the next exit code of its list."""

    codes: dict[str, list[int]] = field(default_factory=dict)
    jobs: int = 2
    running: list[Cell] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    most: int = 0
    stopped: bool = False

    def free(self):
        return len(self.running) < self.jobs

    def start(self, cell):
        self.running.append(cell)
        self.started.append(cell.key)
        self.most = max(self.most, len(self.running))

    def finished(self):
        if not self.running:
            return []
        cell = self.running.pop(0)
        codes = self.codes.get(cell.key, [])
        return [(cell, codes.pop(0) if codes else 0, "what it said last")]

    def stop(self):
        self.stopped = True


def cells(*needs):
    """Cells of seeds 0, 1, ...; `needs` are keys of each."""
    return [Cell(RunSpec(seed=s), needs=tuple(n)) for s, n in enumerate(needs)]


def run(made, engine, find=lambda cell: {"hash": cell.key}):
    Schedule(made, engine, find, pause=0).run()
    assert engine.stopped
    return [cell.state for cell in made]


def test_a_cell_starts_when_all_it_needs_is_done():
    made, engine = cells((), (A,), (A, B), ()), Pretended()
    assert run(made, engine) == [DONE] * 4
    order = engine.started.index
    assert order(A) < order(B) < order(C)
    assert engine.most == 2


def test_one_failure_is_tried_again_and_two_are_a_failure():
    made, engine = cells((), ()), Pretended({A: [1], B: [1, 1]})
    assert run(made, engine) == [DONE, FAILED]
    assert made[1].reason == "what it said last"
    assert (made[0].attempts, made[1].attempts) == (2, 2)


def test_a_failure_costs_what_needs_it_and_nothing_else():
    made, engine = cells((), (A,), (B,), ()), Pretended({A: [1, -9]})
    assert run(made, engine) == [FAILED, SKIPPED, SKIPPED, DONE]
    assert "which failed" in made[1].reason
    assert B not in engine.started


def test_success_without_a_record_is_a_failure():
    assert run(cells(()), Pretended(), find=lambda cell: None) == [FAILED]


def test_not_applicable_is_not_tried_again():
    made, engine = cells(()), Pretended({A: [3]})
    assert run(made, engine) == [NOT_APPLICABLE]
    assert engine.started == [A]


def test_cached_cells_are_not_run():
    made, engine = cells((), (A,)), Pretended()
    made[0].state = CACHED
    assert run(made, engine) == [CACHED, DONE]
    assert engine.started == [B]


def test_an_interrupt_stops_the_engine_and_is_passed_on():
    made, engine = cells((), ()), Pretended()

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Schedule(made, engine, lambda cell: None, changed=interrupted, pause=0).run()
    assert engine.stopped
    assert READY in [cell.state for cell in made]
