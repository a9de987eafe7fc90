"""How the threads of a training wait for each other.

A layer's work is shared among threads, and each waits at its end for the others. PyTorch's OpenMP
runtime (libgomp) has a waiting thread look for the others 300,000 times before it sleeps: the least
delay on an idle machine, but where another program needs a core, the threads that look take it from
the one that works, and a training takes many times as long.
"""

import os
import sys

SPINS = 1000  # looks before a thread sleeps, see `tests/benchmarks/bench_waiting.py`
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")  # of a user: they win


def wait_briefly() -> bool:
    """Has the threads of this process, and of those that it starts, look for SPINS times alone.

    It must be called before torch is imported. Returns False, and changes nothing, where it was
    imported before or the user has chosen a way of waiting.
    """
    if "torch" in sys.modules or any(name in os.environ for name in SETTINGS):
        return False
    os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    return True
