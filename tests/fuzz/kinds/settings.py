"""Configurations of a run and of a sweep, read by `kdbench run` and `kdbench sweep --plan`."""

import json
from pathlib import Path
from typing import Any

import click
import yaml

from kdbench.cli import run as run_command
from kdbench.runs.spec import RunSpec
from tests.conftest import write_tree
from tests.fuzz.changes import changed_text
from tests.fuzz.kinds.kitti_files import FRAMES

RUN = """
# A run of the tiny profile
method: pointdistiller
detector: pointpillars
ratio: 4
dataset: kitti
profile: tiny
seed: 3
train: {steps: 20, lr: 3e-3, precision: float32}
method.scale: 0.5
detector:
  nms_threshold: 0.05
"""
SWEEP = """
methods: [none, {name: kd, scale: 0.5}]
detectors: pointpillars
ratios: [4, 8]
seeds: 2
profile: tiny
dataset: kitti
set:
  train.steps: 20
  train.lr: 0.003
"""


class Told:
    """Stands in for `Runner`: says which run was asked for, and trains nothing."""

    def __init__(self, *_, **__):
        pass

    def run(self, spec: RunSpec):
        click.echo(json.dumps(spec.to_dict()))
        raise click.exceptions.Exit(0)


class Runs:
    said, errors = None, 1

    def make(self, base: Path) -> None:
        (base / "config.yaml").write_text(RUN.replace("detector: pointpillars\n", ""))
        run_command.Runner = Told

    def change(self, folder: Path, rng) -> None:
        path = folder / "config.yaml"
        path.write_bytes(changed_text(path.read_text(), rng))

    def arguments(self, folder: Path) -> list:
        return ["run", "--config", folder / "config.yaml", "--results", folder / "results"]

    def misread(self, folder: Path, out: str) -> str | None:
        spec = json.loads(out)
        for key, value in _flat(yaml.safe_load((folder / "config.yaml").read_bytes())).items():
            found = _setting(spec, key, value)
            if not _equal(found, value):
                return f"{key} {found!r} for {value!r}"
        return None


class Sweeps:
    said, errors = r".", 1  # the plan is printed as a table

    def make(self, base: Path) -> None:
        write_tree(base / "kitti", FRAMES)
        (base / "sweep.yaml").write_text(SWEEP)

    def change(self, folder: Path, rng) -> None:
        path = folder / "sweep.yaml"
        path.write_bytes(changed_text(path.read_text(), rng))

    def arguments(self, folder: Path) -> list:
        given = ["--data-root", folder / "kitti", "--results", folder / "results"]
        return ["sweep", folder / "sweep.yaml", *given, "--plan", "--json", "-"]

    def misread(self, folder: Path, out: str) -> str | None:
        values = yaml.safe_load((folder / "sweep.yaml").read_bytes())
        cells = json.loads(out)
        methods = values["methods"] if isinstance(values["methods"], list) else []
        for method in methods:
            name = method["name"] if isinstance(method, dict) else method
            if not any(f"/{name}/" in f"/{cell['label'].replace(' ', '/')}/" for cell in cells):
                return f"no cell of {name}: {[cell['label'] for cell in cells][:4]}"
        return None


def _flat(values: dict, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        nested = isinstance(value, dict) and not prefix
        flat |= _flat(value, f"{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _setting(spec: dict, key: str, value: Any) -> Any:
    """What a spec has for a key of a configuration; `value` where it stays out of specs.

    A scale that is left open is the one that was tuned.
    """
    if (key, value) == ("method.scale", None):
        return value
    part, dot, name = key.partition(".")
    if key in ("method", "detector", "dataset"):
        return spec[key]["name"]
    if key in ("ratio", "method.scale"):
        return spec["detector"]["ratio"] if key == "ratio" else spec["method"]["scale"]
    if not dot:
        return spec.get(key, value)
    return spec[part].get("options", spec[part]).get(name, value)


def _equal(found: Any, value: Any) -> bool:
    """A number is one also where YAML takes it for text, as 3e-3."""
    if isinstance(found, float) and not isinstance(value, bool):
        return found == float(value)
    return found == value and type(found) is type(value)
