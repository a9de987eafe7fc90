"""Freed memory is kept, and given back where a new phase is measured."""

import subprocess
import sys

import pytest

from kdbench.measure.allocator import _glibc

SCRIPT = """
import numpy as np
from kdbench.measure.allocator import keep_freed
from kdbench.measure.memory import PeakMemory
from kdbench.measure.memory import RESIDENT

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) >> 10

def fill():
    np.ones(200 << 20, np.uint8).sum()

start = resident()
fill()
plain = resident()
assert keep_freed()
fill()
kept = resident()
peak = PeakMemory("cpu")
peak.start()
print(plain - start, kept - start, resident() - start, peak.stop()["how"] == RESIDENT)
"""


def test_freed_memory_is_kept_until_a_phase_is_measured():
    """In a process of its own, for what is set stays set."""
    if _glibc() is None:
        pytest.skip("no glibc")
    told = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    plain, kept, trimmed, resident = told.stdout.split()
    assert int(plain) < 20
    assert int(kept) > 180
    assert int(trimmed) < 20 and resident == "True"
