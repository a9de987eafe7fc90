"""How busy other programs kept the machine during a measurement.

Torch's threads wait for each other. Where another program takes a core from one of them, a frame
of 10 ms may take a second; a latency measured then says nothing about the network.
"""

import os
import time
from pathlib import Path

DISTURBED = 0.25  # cores used by others from which a latency is not to be trusted


class Contention:
    """Processor use of all other programs from its making to `cores`."""

    def __init__(self):
        self._start = self._read()

    def cores(self) -> float | None:
        """Cores that others used on average; None where the system does not tell (not Linux)."""
        end = self._read()
        if self._start is None or end is None:
            return None
        wall, busy, own = (b - a for a, b in zip(self._start, end, strict=True))
        return round(max(0.0, busy - own) / max(wall, 1e-9), 2)

    @staticmethod
    def _read() -> tuple[float, float, float] | None:
        """Seconds so far: of the clock, of all cores' work, and of this process's work."""
        try:
            fields = Path("/proc/stat").read_text().split(maxsplit=9)[1:9]
        except OSError:
            return None
        # user, nice, system, idle, waiting, interrupts (2), stolen by other virtual machines
        ticks = [int(x) for x in fields]
        busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
        return time.perf_counter(), busy, time.process_time()
