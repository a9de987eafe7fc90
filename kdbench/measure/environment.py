"""Where a result was made: software, hardware, and the version of the code."""

import os
import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

import kdbench


def environment(device: torch.device | str) -> dict:
    """What a record says about its machine; see the keys. Never fails."""
    return {
        "kdbench": kdbench.__version__,
        **code_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "cuda": torch.version.cuda,  # None: a torch without CUDA
        "device": device_name(torch.device(device)),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def device_name(device: torch.device) -> str:
    """The product name of a device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model()


def cpu_model() -> str:
    """The product name of the processor, or what the platform tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def code_version() -> dict:
    """`commit` of the checkout this code runs from, and `dirty`: has its Python code changed?

    Both None when the code is installed, or git is absent. An environment may itself lie inside
    some other project's checkout; only one that tracks this very file counts.
    """
    here = Path(kdbench.__file__)
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return {"commit": None, "dirty": None}
    changed = _git(here.parent, "status", "--porcelain", "--", ":(top)*.py")
    return {
        "commit": _git(here.parent, "rev-parse", "HEAD"),
        "dirty": None if changed is None else bool(changed),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None when it fails or is absent."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
