"""Keeping imported networks; `runs/imported.py` says where, and reads them."""

import json
import os
import shutil
from pathlib import Path

import safetensors.torch

from kdbench.errors import UsageError
from kdbench.imports.network import Imported
from kdbench.runs.imported import folder
from kdbench.runs.store import checksum
from kdbench.storage.files import CannotWrite, write_bytes, write_text
from kdbench.storage.lock import alone


def check_free(name: str, force: bool) -> None:
    """Raises UsageError when a name is taken, unless by `force`."""
    if folder(name).exists() and not force:
        raise UsageError(f"--out {name}: {folder(name)} is there already; --force replaces it")


def save(name: str, imported: Imported, force: bool) -> Path:
    """Keeps a network under a name, whole or not at all; returns its folder."""
    place = folder(name)
    new, old = (place.with_name(f".{name}.{which}") for which in ("new", "old"))
    with alone(place.parent, (new.name,)):
        _settle(old, place)
        check_free(name, force)
        try:
            new.mkdir()
            _write(new, imported)
            _replace(new, old, place)
        except OSError as error:
            raise CannotWrite.at(place, error) from None
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return place


def _settle(old: Path, place: Path) -> None:
    """Takes back a network that an import was killed at replacing."""
    if old.exists() and not place.exists():
        os.rename(old, place)
    shutil.rmtree(old, ignore_errors=True)


def _write(place: Path, imported: Imported) -> None:
    tensors = {k: v.contiguous() for k, v in imported.network.state_dict().items()}
    digest = checksum(tensors)
    data = safetensors.torch.save(tensors, metadata={"sha256": digest})
    write_bytes(place / "model.safetensors", data)
    description = imported.description() | {"weights_sha256": digest}
    write_text(place / "network.json", json.dumps(description, indent=1) + "\n")


def _replace(new: Path, old: Path, place: Path) -> None:
    """`new` takes the place of a folder, which goes only after it is there."""
    if place.exists():
        os.rename(place, old)
    os.rename(new, place)
    shutil.rmtree(old, ignore_errors=True)
