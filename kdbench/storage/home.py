"""KDBENCH_HOME: where generated data, weights, checkpoints and raw detections are kept."""

import os
from pathlib import Path


def home() -> Path:
    """The cache folder: the variable KDBENCH_HOME, or `~/.cache/kdbench`."""
    return Path(os.environ.get("KDBENCH_HOME") or "~/.cache/kdbench").expanduser()
