"""Commands killed at any moment: the same command afterwards ends as an undisturbed one does."""

import subprocess
import sys

import pytest

from tests.kills.commands import COMMANDS
from tests.kills.outcome import content, damaged, differences, outcome
from tests.kills.trial import ROOT, Trials

QUICK = ("synth", "report", "import")
PHASES = 6  # that the writes of a command are cut into


@pytest.fixture(scope="module")
def trials(server, tmp_path_factory):
    """Trials of a command; one that runs undisturbed serves all tests."""
    made: dict[str, Trials] = {}

    def get(name: str) -> Trials:
        if name not in made:
            made[name] = Trials(name, tmp_path_factory.mktemp(name), server)
        return made[name]

    return get


@pytest.mark.parametrize("name", QUICK)
def test_killed_in_the_middle(trials, name):
    kept = trials(name)
    assert kept.killed({"write": len(kept.writes) // 2}) == [] and kept.kills == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_once_in_each_phase(trials, name):
    kept = trials(name)
    before = kept.kills
    assert kept.killed(*[{"write": len(kept.writes) // PHASES}] * (PHASES - 1)) == []
    assert kept.kills - before >= PHASES // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_two_at_once(trials, name):
    assert trials(name).together() == []


@pytest.mark.slow
def test_random_kills():
    command = [sys.executable, "-m", "tests.kills", "--kills", "4"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0 and found.stdout.count(" 0 wrong") == len(COMMANDS), found.stdout


def test_what_is_half_there_or_differs_is_found(tmp_path):
    """The look at what is left behind can tell."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.json").write_text('{"map": 1.0, "date": "today"}')
    (tmp_path / "out/log.jsonl").write_text('{"step": 1}\n')
    (tmp_path / "out/b.txt").write_text("whole")
    whole = outcome(tmp_path)
    (tmp_path / "out/a.json").write_text('{"map": 1.0, "date": "tomorrow"}')
    assert damaged(tmp_path, whole) == differences(outcome(tmp_path), whole) == []
    (tmp_path / "out/a.json").write_text('{"map": 2.0}')
    (tmp_path / "out/log.jsonl").unlink()
    (tmp_path / "out/c.txt").write_text("")
    absent, extra, other = differences(outcome(tmp_path), whole)
    assert absent == "out/log.jsonl: is not there" and extra == "out/c.txt: is left over"
    assert other == "out/a.json: differs"
    (tmp_path / "out/a.json").write_text('{"map": 1')
    (tmp_path / "out/b.txt").write_text("wh")
    faults = damaged(tmp_path, whole)
    assert len(faults) == 2 and "out/a.json: damaged (JSON" in faults[0]
    assert content(tmp_path / "out/b.txt") == b"wh"
