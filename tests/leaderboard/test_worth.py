"""What gains are worth in plain training: closed forms on made-up ladders."""

from dataclasses import replace

import numpy as np
import pytest

from kdbench.leaderboard.columns import COLUMNS
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.worth import Ladder
from kdbench.runs.step_costs import step_key


def exactly(steps, ap):
    return Ladder.of([(s, a, 0.0) for s, a in zip(steps, ap, strict=True)])


def test_steps_are_read_off_in_their_logarithm():
    ladder = exactly((100, 200, 400), (40.0, 50.0, 54.0))
    assert ladder.reached(50.0, 0.0) == pytest.approx(200)
    assert ladder.reached(45.0, 0.0) == pytest.approx(100 * 2**0.5)
    assert ladder.reached(53.0, 0.0) == pytest.approx(200 * 2**0.75)
    assert ladder.reached(30.0, 0.0) == pytest.approx(100)
    assert ladder.reached(60.0, 0.0) == pytest.approx(400)


def test_more_steps_are_made_no_worse():
    ladder = exactly((400, 100, 200), (52.0, 40.0, 54.0))
    np.testing.assert_allclose(ladder.ap[0], [40, 53, 53])
    assert ladder.reached(53.0, 0.0)[0] == pytest.approx(200)


def test_the_interval_is_that_of_the_means():
    ladder = Ladder.of([(100, 40.0, 0.5), (1600, 60.0, 0.5)])
    spread = np.log2(ladder.reached(50.0, 1.0)[1:] / 100)
    assert spread.mean() == pytest.approx(2, abs=0.03)
    # 5 points a doubling: errors of the method's mean and of what is interpolated between two.
    assert spread.std() == pytest.approx(np.sqrt(1 + 0.5**2 / 2) / 5, rel=0.05)


@pytest.fixture
def rungs(record, student):
    """A table of 1,000 steps, whose `none` was trained for half, twice and four times as long."""

    def none_for(steps):
        spec = student("none")
        return replace(spec, train=replace(spec.train, steps=steps))

    def of(spec, mean):
        return [record(replace(spec, seed=seed), mean + seed - 1) for seed in range(3)]

    ladder = {500: 40.0, 1000: 50.0, 2000: 60.0, 4000: 70.0}
    found = [r for steps, mean in ladder.items() for r in of(none_for(steps), mean)]

    def with_methods(means, teacher=90.0):
        made = [record(student("kd").teacher_run(), teacher)]
        for name, mean in means.items():
            spec = student(name)
            made += of(replace(spec, train=replace(spec.train, steps=1000)), mean)
        return found + made

    return with_methods


def of_method(rows, name):
    (row,) = [r for r in rows if r["method"] == name and r["steps"] == 1000]
    return row


def test_worth_cost_and_net_stand_in_rows(rungs, student):
    records = rungs({"good": 60.0, "level": 50.0, "bad": 30.0, "best": 80.0})
    spec = replace(student("good"), train=replace(student("good").train, steps=1000))
    cost = {"ratio": 1.6, "cpu": "a processor", "threads": 2}
    rows = leaderboard(records, {step_key(spec): cost})
    good, level, bad, best = (of_method(rows, n) for n in ("good", "level", "bad", "best"))
    assert good["bev_worth"] == pytest.approx(2) and good["bev_net"] == pytest.approx(2 / 1.6)
    assert good["bev_worth_low"] < 2 < good["bev_worth_high"]
    assert good["cost_machine"] == "a processor; 2 threads"
    assert (level["bev_worth"], level["bev_net"]) == (pytest.approx(1), None)
    assert (bad["bev_worth"], bad["bev_worth_end"]) == (pytest.approx(0.5), "below")
    assert (best["bev_worth"], best["bev_worth_end"]) == (pytest.approx(4), "beyond")
    assert of_method(rows, "none")["bev_worth"] == pytest.approx(1)


def test_what_follows_from_a_bound_is_a_bound(rungs, student):
    records = rungs({"good": 60.0, "best": 80.0})
    costs = {}
    for name in ("good", "best"):
        spec = student(name)
        spec = replace(spec, train=replace(spec.train, steps=1000))
        costs[step_key(spec)] = {"ratio": 2.0, "cpu": "a processor", "threads": 2}
    rows = leaderboard(records, costs)
    shown = COLUMNS["net"].show
    assert shown(of_method(rows, "good")) == "1.00"
    assert shown(of_method(rows, "best")) == "> 2.00"
    assert COLUMNS["worth 95 %"].show(of_method(rows, "best")) == "-"


def test_a_table_says_what_it_cannot_tell(rungs, records):
    (table,) = {repr(r["table"]): r["table"] for r in leaderboard(records)}.values()
    assert any("No ladder" in note for note in table["notes"])
    rows = leaderboard(rungs({"good": 56.0, "level": 52.0, "best": 75.0}))
    notes = of_method(rows, "good")["table"]["notes"]
    assert any("head starts" in note and "+10.0 BEV (median gain +6.0)" in note for note in notes)
    assert not any("not ahead" in note for note in notes)
    rows = leaderboard(rungs({"good": 65.0}, teacher=70.5))
    notes = of_method(rows, "good")["table"]["notes"]
    assert any("not ahead of `none` at 4,000 steps" in note for note in notes)
    assert not any("head starts" in note for note in notes)
    smallest = of_method(rows, "good")["table"]["smallest_gain"]["bev"]
    assert 0 < smallest["one"] <= smallest["all"]
