"""Processor use of others, from made-up readings and from this machine."""

import pytest

from kdbench.measure import contention
from kdbench.measure.contention import Contention

STAT = "cpu  {user} 0 50 {idle} 20 1 2 {stolen} 0 0\ncpu0 1 2 3\nintr 5\n"


@pytest.fixture
def readings(monkeypatch):
    """Lets a test say what the system tells: (clock, own seconds, contents of /proc/stat)."""
    now = {}
    monkeypatch.setattr(contention.Path, "read_text", lambda self: now["stat"])
    monkeypatch.setattr(contention.time, "perf_counter", lambda: now["clock"])
    monkeypatch.setattr(contention.time, "process_time", lambda: now["own"])
    monkeypatch.setattr(contention.os, "sysconf", lambda name: 100)
    return now


def test_others_are_what_is_busy_and_not_ours(readings):
    readings.update(clock=10.0, own=3.0, stat=STAT.format(user=1000, idle=500, stolen=0))
    measured = Contention()
    # 10 s later: 12 s of work and 1 s stolen, of which 8 s ours.
    readings.update(clock=20.0, own=11.0, stat=STAT.format(user=2200, idle=900, stolen=100))
    assert measured.cores() == 0.5


def test_an_idle_machine_is_not_negative(readings):
    readings.update(clock=10.0, own=3.0, stat=STAT.format(user=1000, idle=500, stolen=0))
    measured = Contention()
    readings.update(clock=11.0, own=4.01)  # ticks are coarser than the clock
    assert measured.cores() == 0.0


def test_unknown_where_the_system_does_not_tell(monkeypatch):
    def absent(self):
        raise FileNotFoundError

    monkeypatch.setattr(contention.Path, "read_text", absent)
    assert Contention().cores() is None


def test_on_this_machine():
    cores = Contention().cores()
    assert cores is None or cores >= 0
