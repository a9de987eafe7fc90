"""What a run leaves beside its record: weights, checkpoint, log, detections.

KDBENCH_HOME/runs/<hash>/model.safetensors   the network alone; it stays when the run is done
                         checkpoint.pt       until the training is done
                         log.jsonl           losses by step
                         trace.jsonl         gradients at eight moments, if asked for
                         tensorboard/        the same as events, if asked for
                         detections.npz      raw detections of the validation frames
"""

import hashlib
import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch

from kdbench.dataset import Dataset
from kdbench.detector import Detections, Detector
from kdbench.errors import DataError
from kdbench.runs import published
from kdbench.runs.build import build_detector, classes_of
from kdbench.runs.records import Record
from kdbench.runs.rounding import packed, unpacked
from kdbench.runs.spec import RunSpec
from kdbench.storage.files import CannotWrite, check_place, replacing, write_bytes, write_text
from kdbench.storage.home import home

COLUMNS = ("boxes", "scores", "labels")  # of detections
LARGE = ("checkpoint.pt", "model.safetensors", "detections.npz")
TEMPORARY = tuple(f".{name}.*" for name in LARGE)  # while they are written


def run_folder(spec: RunSpec) -> Path:
    """Where a run keeps its files."""
    return home() / "runs" / spec.hash


def weights_path(spec: RunSpec) -> Path:
    """Where a run on this machine keeps its trained weights."""
    return run_folder(spec) / "model.safetensors"


def found_weights(spec: RunSpec, wanted: str = "") -> Path | None:
    """The file with the weights of a run: published ones, or those in KDBENCH_HOME.

    With the checksum `wanted` only a file of just these weights will do. None when there is none.
    """
    for path in (published.weights_path(spec), weights_path(spec)):
        if path.is_file() and (not wanted or stated_checksum(path) == wanted):
            return path
    return None


def stated_checksum(path: Path) -> str:
    """The checksum that a file of weights says it has; empty for one that cannot be read."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("sha256", "")
    except (safetensors.SafetensorError, OSError):
        return ""


def save_weights(spec: RunSpec, detector: Detector) -> None:
    """Writes the weights; the file holds a checksum of them and the run's hash.

    Matrices that were rounded to float16 (`rounding.py`) are written so, at half the size.
    """
    tensors = {name: value.contiguous().cpu() for name, value in detector.state_dict().items()}
    metadata = {"run": spec.hash, "sha256": checksum(tensors)}
    write_bytes(weights_path(spec), safetensors.torch.save(packed(tensors), metadata=metadata))


def load_weights(path: Path, detector: Detector) -> str:
    """Fills `detector` with the weights of a file; returns their checksum.

    Raises DataError that names the file when it is missing, damaged, or of another network.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            expected = (file.metadata() or {}).get("sha256")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        tensors = unpacked(tensors)
        if checksum(tensors) != expected:
            raise DataError(f"{path}: damaged, its checksum does not fit")
        if broken := [name for name, x in tensors.items() if not x.isfinite().all()]:
            raise DataError(f"{path}: {broken[0]} holds a value that is not finite")
        detector.load_state_dict(tensors)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of weights") from None
    except (safetensors.SafetensorError, OSError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be used as weights ({first})") from None
    return expected


def save_training(spec: RunSpec, detector: Detector, cost: dict) -> None:
    """Keeps the outcome of a training: what follows can be stopped without losing it."""
    save_weights(spec, detector)
    write_text(run_folder(spec) / "training.json", json.dumps(cost))
    (run_folder(spec) / "checkpoint.pt").unlink(missing_ok=True)


def load_training(spec: RunSpec, detector: Detector) -> dict | None:
    """The cost of a finished training, its weights put into `detector`; None if there is none."""
    try:
        cost = json.loads((run_folder(spec) / "training.json").read_text())
        load_weights(weights_path(spec), detector)
    except (OSError, ValueError, DataError):
        return None
    return cost


def forget(spec: RunSpec) -> None:
    """Removes what would keep a run from being trained anew."""
    for name in ("training.json", "checkpoint.pt"):
        (run_folder(spec) / name).unlink(missing_ok=True)


def load_trained(spec: RunSpec, wanted: str = "") -> Detector:
    """The trained detector of a finished run, with the checksum `wanted` if that is given.

    Raises DataError when its weights are not there, or others than those.
    """
    detector = build_detector(spec.detector, classes_of(spec.dataset))
    path = found_weights(spec, wanted)
    if path is None and weights_path(spec).is_file():
        raise DataError(
            f"{weights_path(spec)}: not the weights that are asked for, with the checksum "
            f"{wanted[:10]}: another machine, or another number of threads, ends with other bits"
        )
    load_weights(path or weights_path(spec), detector)
    return detector


def load_recorded(record: Record) -> Detector:
    """The trained detector of a record: just the weights that the record is of."""
    return load_trained(RunSpec.from_dict(record["spec"]), record.get("weights_sha256", ""))


def checksum(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 over names and bytes of tensors: equal for bit-identical weights only."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_detections(spec: RunSpec, dataset: Dataset, found: dict[str, Detections]) -> None:
    """Raw detections of each frame: any metric can be computed again without training."""
    ids = list(found)
    counts = np.array([len(found[i].scores) for i in ids], np.int64)
    columns = {
        name: torch.cat([getattr(found[i], name).cpu() for i in ids]).numpy() for name in COLUMNS
    }
    with replacing(run_folder(spec) / "detections.npz") as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file, ids=np.array(ids), counts=counts, classes=np.array(dataset.classes), **columns
        )


def load_detections(spec: RunSpec, wanted: str = "") -> dict[str, Detections]:
    """What `save_detections` wrote. Raises DataError when it is missing or damaged.

    They are those of the weights with the checksum `wanted`, if that is given.
    """
    path = run_folder(spec) / "detections.npz"
    if found_weights(spec, wanted) == published.weights_path(spec):
        path = published.detections_path(spec)
    try:
        with np.load(path) as file:
            ids, counts = file["ids"].tolist(), file["counts"].tolist()
            columns = [torch.from_numpy(file[name]).split(counts) for name in COLUMNS]
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of detections") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be used as detections ({error})") from None
    return {i: Detections(*d) for i, d in zip(ids, zip(*columns, strict=True), strict=True)}


class Log:
    """JSON lines, appended one at a time."""

    def __init__(self, path: Path):
        check_place(path)
        self.path = path

    def write(self, **values) -> None:
        """Adds one line, or nothing: raises CannotWrite where there is no room for it."""
        size = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            with suppress(OSError):
                os.truncate(self.path, size)
            raise CannotWrite.at(self.path, error) from None

    def read(self) -> list[dict]:
        """All whole lines; none where nothing was written."""
        entries = []
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            with suppress(json.JSONDecodeError):  # half-written when its process was killed
                entries.append(json.loads(line))
        return entries

    def truncate_after(self, step: int) -> None:
        """Drops the lines of steps that a resumed training repeats, and a half-written one."""
        if not self.path.exists():
            return
        kept = [json.dumps(entry) + "\n" for entry in self.read() if entry["step"] <= step]
        with replacing(self.path) as temporary:
            temporary.write_text("".join(kept))
