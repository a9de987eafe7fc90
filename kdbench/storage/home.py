"""KDBENCH_HOME: where generated data, weights, checkpoints and raw detections are kept."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def home() -> Path:
    """The cache folder: the variable KDBENCH_HOME, or `~/.cache/kdbench`."""
    return Path(os.environ.get("KDBENCH_HOME") or "~/.cache/kdbench").expanduser()


def cache_compiled() -> None:
    """Has numba keep what it compiles in KDBENCH_HOME where the installation cannot be written.

    Beside the sources it is the same for all of a machine's users and caches, so that comes first.
    To be called before numba is imported.
    """
    if not os.access(PACKAGE, os.W_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(home() / "numba"))
