"""What a command leaves behind, as far as it is the same however often it was killed."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch

PLACES = ("out", "results", "home")
# Of a record: what a clock, the machine or an earlier measurement says.
CHANGING = {
    "date", "latency", "environment", "measured_before", "seconds", "seconds_per_step",
    "data_wait_share", "frames_per_second", "peak_memory_bytes", "peak_memory_how",
}  # fmt: skip
# Named by where the data lie, or by the machine; what a sweep's cell says tells times.
ELSEWHERE = ("home/fingerprints/", "home/measured/")
SAID = "sweep.log"


def outcome(folder: Path) -> dict[str, Any]:
    """Path below a command's folder -> what the file holds. Raises for one that is damaged."""
    found = {str(path.relative_to(folder)): content(path) for path in files(folder)}
    return {path: held for path, held in found.items() if not path.startswith(ELSEWHERE)}


def files(folder: Path) -> Iterator[Path]:
    """What a person finds: not the temporary files that a killed process leaves."""
    for place in PLACES:
        for path in sorted((folder / place).rglob("*")):
            parts = path.relative_to(folder).parts
            hidden = any(part.startswith(".") for part in parts)
            if path.is_file() and not hidden and path.name != SAID:
                yield path


def content(path: Path) -> Any:
    """What a file holds; bytes for what is neither JSON nor arrays."""
    match path.suffix:
        case ".json":
            return _lasting(json.loads(path.read_text()))
        case ".jsonl":
            return [_lasting(json.loads(line)) for line in path.read_text().splitlines()]
        case ".npz":
            with np.load(path) as arrays:
                return {name: _digest(arrays[name]) for name in arrays}
        case ".safetensors":
            with safetensors.safe_open(path, framework="np") as file:
                tensors = {name: _digest(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
                return tensors | (file.metadata() or {})
        case ".pt":
            return torch.load(path, weights_only=True)["step"]
    return path.read_bytes()


def damaged(folder: Path, whole: dict[str, Any]) -> list[str]:
    """A line for each file that a killed command left half there, or other than it is to be.

    A line of a log may be half there: it is dropped when the training goes on.
    """
    faults = []
    for path in files(folder):
        name = str(path.relative_to(folder))
        try:
            held = content(path)
        except Exception as error:  # torch, numpy and safetensors raise many kinds
            if path.suffix != ".jsonl":
                faults.append(f"{name}: damaged ({type(error).__name__}: {error})")
            continue
        if isinstance(held, bytes) and held != whole.get(name, held):
            faults.append(f"{name}: not what it is to be")
    return faults


def differences(found: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    """A line for each file of two outcomes that is not the same in both."""
    absent = [f"{name}: is not there" for name in whole.keys() - found.keys()]
    extra = [f"{name}: is left over" for name in found.keys() - whole.keys()]
    common = sorted(whole.keys() & found.keys())
    return absent + extra + [f"{n}: differs" for n in common if found[n] != whole[n]]


def left_over(folder: Path) -> list[Path]:
    """Temporary files and folders of commands that are no more."""
    return [path for place in (*PLACES, "tmp") for path in (folder / place).rglob(".*.*")]


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lasting(v) for k, v in value.items() if k not in CHANGING}
    return [_lasting(v) for v in value] if isinstance(value, list) else value


def _digest(array: np.ndarray) -> tuple:
    return array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).hexdigest()
