"""Where imported networks are kept.

KDBENCH_HOME/imported/<name>/model.safetensors   the weights
                            /network.json        which detector, and where it comes from
"""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from kdbench.detector import Detector
from kdbench.errors import DataError, KdbenchError, UsageError
from kdbench.imports.network import Imported
from kdbench.registry.suggest import unknown
from kdbench.runs.build import build_detector
from kdbench.runs.spec import DetectorSpec
from kdbench.runs.store import checksum, load_weights
from kdbench.storage.files import replacing, write_text
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


def check_free(name: str, force: bool) -> None:
    """Raises UsageError when a name is taken, unless by `force`."""
    if folder(name).exists() and not force:
        raise UsageError(f"--out {name}: {folder(name)} is there already; --force replaces it")


def save(name: str, imported: Imported, force: bool) -> Path:
    """Keeps a network under a name, whole or not at all; returns its folder."""
    check_free(name, force)
    place = folder(name)
    temporary = place.with_name(f".{name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True, exist_ok=True)
        _write(temporary, imported)
        _replace(temporary, place)
    except (OSError, safetensors.SafetensorError) as error:
        error = getattr(error, "strerror", error)
        raise KdbenchError(f"{place}: cannot be written ({error})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return place


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


def _write(place: Path, imported: Imported) -> None:
    tensors = {k: v.contiguous() for k, v in imported.network.state_dict().items()}
    digest = checksum(tensors)
    with replacing(place / "model.safetensors") as file:
        safetensors.torch.save_file(tensors, file, metadata={"sha256": digest})
    description = imported.description() | {"weights_sha256": digest}
    write_text(place / "network.json", json.dumps(description, indent=1) + "\n")


def _replace(new: Path, place: Path) -> None:
    """`new` takes the place of a folder, which goes only after it is there."""
    old = new.with_name(new.name + ".old")
    if place.exists():
        os.rename(place, old)
    os.rename(new, place)
    shutil.rmtree(old, ignore_errors=True)
