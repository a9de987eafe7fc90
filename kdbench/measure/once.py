"""Figures that are the same for every run of a network on a machine: measured once, and kept.

They are kept below KDBENCH_HOME under the hash of all that they depend on: what is measured, on
which frames, the code, and the machine. With a checkout whose Python code has been changed since
its last commit nothing is kept, for nothing says what was measured.
"""

import hashlib
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from kdbench.errors import Note
from kdbench.measure.environment import environment
from kdbench.storage.files import CannotWrite, write_text
from kdbench.storage.home import home

# Of an environment: what decides on a network's cost and speed.
MACHINE = ("kdbench", "commit", "torch", "cuda", "device", "threads", "platform")


def measured_once(
    what: str,
    subject: dict[str, Any],
    device: torch.device,
    measure: Callable[[], dict],
    anew: bool,
) -> dict:
    """The outcome of `measure`, or what it was when it was first called for the same.

    `what` names the figures (cost, latency), `subject` says of which network and frames they are.
    If `anew`, it is measured in any case. Figures that were kept come with `measured_before`.
    """
    where = environment(device)
    key = {"what": what, "subject": subject, "machine": {k: where[k] for k in MACHINE}}
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = home() / "measured" / f"{what}-{name}.json"
    if not anew and not where["dirty"]:
        known = _kept(path)
        if known is not None:
            return known | {"measured_before": True}
    found = measure()
    if not where["dirty"]:
        _keep(path, found)
    return found


def _keep(path: Path, found: dict) -> None:
    try:
        write_text(path, json.dumps(found))
    except CannotWrite as error:
        warnings.warn(Note(f"measured, but not kept for the next run: {error}"), stacklevel=2)


def _kept(path: Path) -> dict | None:
    """What a file holds; None when it is not there, or damaged."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
