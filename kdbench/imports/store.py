"""Keeping imported networks; `runs/imported.py` says where, and reads them."""

import json
import os
import shutil
from pathlib import Path

import safetensors
import safetensors.torch

from kdbench.errors import KdbenchError, UsageError
from kdbench.imports.network import Imported
from kdbench.runs.imported import folder
from kdbench.runs.store import checksum
from kdbench.storage.files import replacing, write_text


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
