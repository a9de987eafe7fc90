"""Weights and checkpoints of runs, changed inside and signed again.

Read by `kdbench predict`, and by a training that goes on.
"""

import io
import json
from pathlib import Path

import click
import numpy as np
import safetensors.torch
import torch

from kdbench.cli import run as run_command
from kdbench.dataset import Dataset
from kdbench.runs import store
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import checksum, run_folder, save_weights, weights_path
from kdbench.training.checkpoint import MARK, sealed
from kdbench.training.data import build_dataset
from kdbench.training.loop import Training
from kdbench.training.networks import build_networks
from kdbench.training.progress import Reporter
from tests.conftest import write_tree
from tests.fuzz.changes import change_tree, changed_bytes, pick
from tests.fuzz.kinds.kitti_files import FRAMES, STRANGE
from tests.leaderboard.conftest import make_record

UNUSED = "num_batches_tracked"  # a count that nothing depends on, and that torch lets be absent
SETTINGS = {"profile": "tiny", "dataset": "kitti", "ratio": 16.0}


class Weights:
    said, errors = r"^ *detecting on val", 1

    def make(self, base: Path) -> None:
        write_tree(base / "kitti", FRAMES)
        self.spec = build_spec(**SETTINGS)
        torch.manual_seed(0)
        save_weights(self.spec, build_detector(self.spec.detector, Dataset.classes))
        self.record = make_record(self.spec, 0.0)
        self._write_record(base, store.stated_checksum(weights_path(self.spec)))

    def _write_record(self, folder: Path, sum_: str) -> None:
        (folder / "record.json").write_text(json.dumps(self.record | {"weights_sha256": sum_}))

    def change(self, folder: Path, rng) -> None:
        path = weights_path(self.spec)
        if rng.random() < 0.3:
            path.write_bytes(changed_bytes(path.read_bytes(), rng))
            return
        tensors = safetensors.torch.load_file(path)
        change_tensors(tensors, rng)
        metadata = {"run": self.spec.hash, "sha256": checksum(tensors)}
        path.write_bytes(safetensors.torch.save(tensors, metadata=metadata))
        self._write_record(folder, metadata["sha256"])

    def arguments(self, folder: Path) -> list:
        return ["predict", folder / "record.json", "--data-root", folder / "kitti", "--json", "-"]

    def misread(self, folder: Path, out: str) -> str | None:
        found = store.load_trained(self.spec).state_dict()
        plain = plain_tensors(weights_path(self.spec).read_bytes())
        for name, value in found.items():
            if name.endswith(UNUSED):
                continue
            if not np.array_equal(value.numpy(), plain[name]) or not np.isfinite(plain[name]).all():
                return f"{name} is {value.flatten()[:3]} for {plain[name].ravel()[:3]}"
        return None


class Checkpoints:
    """At the last step of a training, so that what it holds comes out."""

    said, errors = r" goes on from step | starts anew |^warning", 1

    def make(self, base: Path) -> None:
        self.root = write_tree(base / "kitti", FRAMES)
        run_command.Runner = Resumed
        Resumed.root = str(self.root)
        self.spec = build_spec(**SETTINGS, overrides={"train.steps": 1})
        state = training(self.spec, self.root).initial_state()
        self.types = {name: x.dtype for name, x in state.student.state_dict().items()}
        state.optimizer.step()
        state.schedule.step()
        state.step = 1
        state.save(run_folder(self.spec) / "checkpoint.pt")

    def change(self, folder: Path, rng) -> None:
        path = run_folder(self.spec) / "checkpoint.pt"
        data, _, _ = path.read_bytes().rpartition(MARK)
        if rng.random() < 0.3:
            path.write_bytes(pick((sealed, bytes), rng)(changed_bytes(data, rng)))
            return
        values = torch.load(io.BytesIO(data), weights_only=True)
        if rng.random() < 0.5:
            change_tensors(values["student"], rng)
        else:
            change_tree(values, rng)
        buffer = io.BytesIO()
        torch.save(values, buffer)
        path.write_bytes(sealed(buffer.getvalue()))

    def arguments(self, folder: Path) -> list:
        named = [f"--{key}={value}" for key, value in (SETTINGS | {"method": "none"}).items()]
        return ["run", *named, "--set", "train.steps=1", "--results", folder / "results"]

    def misread(self, folder: Path, out: str) -> str | None:
        found = json.loads(out)
        if found["anew"]:
            return None
        data = (run_folder(self.spec) / "checkpoint.pt").read_bytes()
        plain = torch.load(io.BytesIO(data.rpartition(MARK)[0] or data), weights_only=True)
        if (found["step"], plain["step"]) != (1, 1):
            return f"step {found['step']} for {plain['step']} of 1"
        as_they_are = {name: x.to(self.types[name]) for name, x in plain["student"].items()}
        same = found["weights"] == learned(as_they_are)
        return None if same else "other weights than those of the checkpoint"


class Resumed:
    """Stands in for `Runner`: trains alone, and tells the weights at the end."""

    root = ""

    def __init__(self, *_, **__):
        pass

    def run(self, spec: RunSpec):
        run, anew = training(spec, self.root), []
        run.reporter.say = anew.append
        cost = run.run()
        found = {"step": cost["steps"], "weights": learned(run.student.state_dict())}
        click.echo(json.dumps(found | {"anew": not any("goes on" in text for text in anew)}))
        raise click.exceptions.Exit(0)


def training(spec: RunSpec, root) -> Training:
    """The training of a run on a small tree, in the folder where it would be."""
    dataset = build_dataset(spec, str(root))
    networks = build_networks(spec, torch.device("cpu"))
    return Training(spec, dataset, *networks, torch.device("cpu"), run_folder(spec), Reporter(True))


def learned(tensors: dict[str, torch.Tensor]) -> str:
    """A checksum of all but what is UNUSED."""
    return checksum({name: x for name, x in tensors.items() if not name.endswith(UNUSED)})


def change_tensors(tensors: dict[str, torch.Tensor], rng) -> None:
    """Changes one: its values, its shape, its type, its name, or takes it away."""
    name = pick(sorted(tensors), rng)
    value = tensors.pop(name)
    match rng.integers(6):
        case 0:
            tensors[f"{name}x"] = value
        case 1:
            tensors[name] = value.flatten()[: int(rng.integers(0, value.numel() + 1))].clone()
        case 2:
            tensors[name] = value.to(pick((torch.float16, torch.float64, torch.int32), rng))
        case 3:
            return
        case _:
            flat = value.clone().flatten()
            at = int(rng.integers(max(1, len(flat))))
            flat[at : at + 1] = float(pick(STRANGE, rng)) if flat.is_floating_point() else -1
            tensors[name] = flat.view(value.shape)


def plain_tensors(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a file in the format safetensors: a length, a JSON header, and bytes."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    kinds = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "I32": "<i4"}
    found = {}
    for name, entry in header.items():
        first, last = (start + offset for offset in entry["data_offsets"])
        values = np.frombuffer(data[first:last], kinds[entry["dtype"]]).reshape(entry["shape"])
        found[name] = values.astype(np.float32) if entry["dtype"].startswith("F") else values
    return found
