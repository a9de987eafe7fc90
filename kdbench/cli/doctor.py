"""`kdbench doctor`: would a run work here, and what could be added?"""

import os
import shutil
import tempfile
from pathlib import Path

import click
import torch
from rich.console import Console

from kdbench.cli import requirements
from kdbench.cli.output import json_option, write_json
from kdbench.errors import UsageError
from kdbench.measure.environment import cpu_model
from kdbench.registry import Registry, datasets, detectors, methods
from kdbench.runs.spec import RunSpec
from kdbench.storage.home import home

KITTI_TREE = (
    "ImageSets/train.txt", "ImageSets/val.txt",
    "training/velodyne", "training/label_2", "training/calib",
)  # fmt: skip


@click.command()
@json_option
def doctor(json_file: str | None) -> int:
    """Look at versions, devices, extras, folders and plugins.

    Exits with 0 when a run would work and with 1 when it would not.
    """
    problems: list[str] = []
    result = {
        "versions": requirements.versions(problems),
        "devices": _devices(),
        "extras": requirements.extras(),
        "home": _home(problems),
        "data": {"KDBENCH_KITTI": _kitti()},
        "plugins": _plugins(problems),
    }
    result |= {"ok": not problems, "problems": problems}
    write_json(result, json_file)
    if json_file != "-":
        _show(result)
    return 1 if problems else 0


def _devices() -> dict:
    devices = {
        "cpu": f"{cpu_model()}, {os.cpu_count()} cores, torch uses {torch.get_num_threads()}",
        "cuda": "none",
    }
    if torch.cuda.is_available():
        devices["cuda"] = f"torch for CUDA {torch.version.cuda}"
        devices |= {f"cuda:{i}": _cuda_device(i) for i in range(torch.cuda.device_count())}
    elif shutil.which("nvidia-smi"):
        devices["cuda"] = f"an NVIDIA driver is there, but torch {torch.__version__} cannot use it"
    return devices


def _cuda_device(index: int) -> str:
    about = torch.cuda.get_device_properties(index)
    text = f"{about.name}, {about.total_memory / 2**30:.0f} GiB"
    try:
        torch.ones(1, device=f"cuda:{index}").add(1).item()
    except RuntimeError as error:
        text += f"; does not work: {str(error).splitlines()[0]}"
    return text


def _home(problems: list[str]) -> dict:
    """The cache: where, how large, writable or not, and what is free on its disk."""
    path = home()
    standing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=standing):
            writable = True
    except OSError as error:
        writable = False
        problems.append(f"KDBENCH_HOME {path} cannot be written ({error.strerror}): set another")
    files = path.rglob("*") if path.is_dir() else []
    size = sum(file.lstat().st_size for file in files if file.is_file())
    free = shutil.disk_usage(standing).free
    return {"path": str(path), "bytes": size, "free_bytes": free, "writable": writable}


def _kitti() -> str:
    root = os.environ.get("KDBENCH_KITTI")
    if not root:
        return "not set; only needed for KITTI"
    absent = [part for part in KITTI_TREE if not (Path(root).expanduser() / part).exists()]
    if absent:
        return f"{root}: not a KITTI tree, lacks {', '.join(absent)}"
    return f"{root}: a KITTI tree"


def _plugins(problems: list[str]) -> dict[str, dict[str, str]]:
    """Contract -> plugin -> `ok`, or why it fails. Only those of a default run are a problem."""
    run = RunSpec()
    needed = {"method": run.method.name, "detector": run.detector.name, "dataset": run.dataset.name}
    found = {}
    for registry in (methods, detectors, datasets):
        states = _states(registry)
        found[f"{registry.what}s"] = states
        name = needed[registry.what]
        if states.get(name) != "ok":
            problems.append(states.get(name, f"{registry.what} {name!r} is absent"))
    return found


def _states(registry: Registry) -> dict[str, str]:
    states = {}
    try:
        names = registry.names()
    except UsageError as error:  # an installed package takes a name that is taken
        states["(entry points)"] = str(error)
        names = registry.names()
    for name in names:
        try:
            registry.get(name)
            states[name] = "ok"
        except UsageError as error:
            states[name] = str(error)
    return states


def _show(result: dict) -> None:
    """One section a topic, one line a thing: lines stay whole, to be copied."""
    where = result["home"]
    size, free = where["bytes"] / 1e9, where["free_bytes"] / 1e9
    access = "writable" if where["writable"] else "NOT writable"
    sections = {
        "versions": result["versions"],
        "devices": result["devices"],
        **{f"extra [{name}]": packages for name, packages in result["extras"].items()},
        "folders": {
            "KDBENCH_HOME": f"{where['path']}: {size:.2f} GB, {free:.1f} GB free, {access}",
            **result["data"],
        },
        **result["plugins"],
    }
    out = Console(highlight=False, soft_wrap=True, markup=False)
    for title, lines in sections.items():
        out.print(title, style="bold")
        width = max((len(name) for name in lines), default=0)
        for name, text in lines.items():
            out.print(f"  {name:{width}}  {text}")
    for problem in result["problems"]:
        out.print(f"problem: {problem}", style="red")
    out.print("a run would work" if result["ok"] else "a run would NOT work")
