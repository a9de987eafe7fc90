"""Peak memory of a phase, such as the training of one run."""

import sys
from pathlib import Path

import torch

from kdbench.measure.allocator import give_back_freed

CUDA = "cuda: peak of allocated tensors in the phase"
RESIDENT = "cpu: peak resident set of the process in the phase"
LIFETIME = "cpu: peak resident set of the process since its start"


class PeakMemory:
    """Measures from `start` to `stop`.

    On CUDA what tensors take on the device; the context and cached blocks are not in it. On the
    CPU the whole process: code, data and tensors. Worker processes are not in it.
    """

    def __init__(self, device: torch.device | str):
        self.device = torch.device(device)
        self._how = LIFETIME

    def start(self) -> None:
        """Begins a phase; the peak so far is forgotten where the system allows that."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._how = CUDA
        else:
            give_back_freed()  # kept from the phases before
            self._how = RESIDENT if _forget_peak() else LIFETIME

    def stop(self) -> dict:
        """The peak since `start`: `bytes`, and `how` they were measured, in words."""
        if self._how == CUDA:
            peak = torch.cuda.max_memory_allocated(self.device)
        elif self._how == RESIDENT:
            peak = _resident_peak()
        else:
            peak = _lifetime_peak()
        return {"bytes": peak, "how": self._how}


def _forget_peak() -> bool:
    """Sets Linux's high-water mark to the present size; False where that is not possible."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _resident_peak() > 0
    except OSError:
        return False


def _resident_peak() -> int:
    """Linux's high-water mark of the resident set, in bytes; 0 when it is not told."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024  # given in kB
    return 0


def _lifetime_peak() -> int:
    """The same since the process began, in bytes, on any Unix."""
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
