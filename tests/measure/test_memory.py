"""Peak memory: the phase is seen, and what came before it is not, where the system allows."""

import numpy as np
import pytest

from kdbench.measure import memory
from kdbench.measure.memory import LIFETIME, RESIDENT, PeakMemory

MIB = 2**20


def fill(mebibytes):
    """Takes memory, touches all of it, gives it back."""
    np.ones(mebibytes * MIB, np.uint8).sum()


def test_peak_of_a_phase():
    peak = PeakMemory("cpu")
    peak.start()
    quiet = peak.stop()
    if quiet["how"] != RESIDENT:
        pytest.skip("this system does not reset the high-water mark")
    peak.start()
    fill(200)
    busy = peak.stop()
    assert busy["bytes"] - quiet["bytes"] > 150 * MIB
    peak.start()
    assert peak.stop()["bytes"] < busy["bytes"] - 150 * MIB


def test_falls_back_to_the_peak_since_the_start(monkeypatch):
    monkeypatch.setattr(memory, "_forget_peak", lambda: False)
    peak = PeakMemory("cpu")
    peak.start()
    found = peak.stop()
    assert found["how"] == LIFETIME
    assert 20 * MIB < found["bytes"] < 2**40


def test_without_start_it_is_the_peak_since_the_start():
    assert PeakMemory("cpu").stop()["how"] == LIFETIME


def test_a_refused_reset_is_no_error(monkeypatch):
    def refuse(self, text):
        raise PermissionError

    monkeypatch.setattr(memory.Path, "write_text", refuse)
    assert memory._forget_peak() is False


def test_cuda_uses_the_allocator(monkeypatch):
    reset = []
    monkeypatch.setattr(memory.torch.cuda, "reset_peak_memory_stats", reset.append)
    monkeypatch.setattr(memory.torch.cuda, "max_memory_allocated", lambda device: 123)
    peak = PeakMemory("cuda")
    peak.start()
    assert len(reset) == 1
    assert peak.stop() == {"bytes": 123, "how": memory.CUDA}
