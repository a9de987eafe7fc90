"""Figures that are measured once for all runs of a network."""

import pytest
import torch

from kdbench.measure import once
from kdbench.measure.once import measured_once

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A KDBENCH_HOME of the test's own, and code that was committed."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path))
    known = once.environment(CPU) | {"dirty": False, "commit": "abc"}
    monkeypatch.setattr(once, "environment", lambda device: dict(known))
    return known


class Counted:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"p50": float(self.calls)}


def ask(measure, what="latency", anew=False, **subject):
    return measured_once(what, {"frames": "x"} | subject, CPU, measure, anew)


def test_the_same_is_measured_once():
    measure = Counted()
    assert ask(measure) == {"p50": 1.0}
    assert ask(measure) == {"p50": 1.0, "measured_before": True}
    assert measure.calls == 1


def test_anew_it_is_measured_and_kept():
    measure = Counted()
    ask(measure)
    assert ask(measure, anew=True) == {"p50": 2.0}
    assert ask(measure)["p50"] == 2.0


def test_another_network_figure_or_machine_is_measured_for_itself(place):
    measure = Counted()
    ask(measure)
    ask(measure, detector="other")
    ask(measure, what="cost")
    for key, value in (("threads", 99), ("commit", "def"), ("torch", "0.0")):
        place[key] = value
        ask(measure)
    assert measure.calls == 6


def test_of_code_that_was_changed_since_its_commit_nothing_is_kept(place):
    measure = Counted()
    place["dirty"] = True
    ask(measure), ask(measure)
    assert measure.calls == 2


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_damaged_file_costs_a_measurement(tmp_path, text):
    measure = Counted()
    ask(measure)
    (path,) = tmp_path.glob("measured/*.json")
    path.write_text(text)
    assert ask(measure) == {"p50": 2.0}
