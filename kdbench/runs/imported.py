"""Where imported networks are kept.

KDBENCH_HOME/imported/<name>/model.safetensors   the weights
                            /network.json        which detector, and where it comes from
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.detector import Detector
from kdbench.errors import DataError, UsageError
from kdbench.registry.suggest import unknown
from kdbench.runs.build import build_detector
from kdbench.runs.spec import DetectorSpec
from kdbench.runs.store import load_weights
from kdbench.storage.home import home

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Kept:
    """What `network.json` says of a network."""

    name: str
    spec: DetectorSpec
    classes: tuple[str, ...]
    weights: str  # their checksum
    description: dict[str, Any]  # all of it


def folder(name: str) -> Path:
    """Where the network of a name is kept. Raises UsageError for a name that is no file's."""
    if not NAME.fullmatch(name):
        raise UsageError(f"--out {name}: a name has letters, digits, `.`, `_` and `-` alone")
    return home() / "imported" / name


def names() -> list[str]:
    """The names that networks are kept under."""
    return sorted(p.name for p in (home() / "imported").glob("[!.]*"))


def describe(name: str) -> Kept:
    """What is kept under a name.

    Raises UsageError for a name that nothing is kept under, DataError for a damaged file.
    """
    if name not in names():
        raise UsageError(unknown("imported network", name, names()))
    file = folder(name) / "network.json"
    try:
        description = json.loads(file.read_text())
        spec, classes = DetectorSpec(**description["detector"]), tuple(description["classes"])
        return Kept(name, spec, classes, description["weights_sha256"], description)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{file}: damaged ({error})") from None


def load(name: str) -> Detector:
    """The network of a name with its weights, in evaluation mode. Raises as `describe`."""
    kept = describe(name)
    network = build_detector(kept.spec, kept.classes)
    file = folder(name) / "model.safetensors"
    if load_weights(file, network) != kept.weights:
        raise DataError(f"{file}: not the weights that the network.json beside it is of")
    return network.eval()
