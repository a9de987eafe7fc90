"""What a network's own project computed, for comparison.

A case is a folder with `inputs.json` (settings) and files `synthetic.npz`, with `points` in it, and
`kitti_<frame>.npz`, whose points are those of KITTI's frame that its bit mask `kept` says; or one
file `.npz` that somebody made of the project's detections: `points` (n, 4), `boxes` (m, 7),
`scores` and `labels` (m,), all just as the project gives them.
"""

import hashlib
import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.errors import DataError
from kdbench.imports.pcdet import VOXELS
from kdbench.imports.settings import look_up

# Beginning of an array's name -> options of the detector under which it was computed.
UNDER = {"s222_": {"strides": [2, 2, 2]}}
DETECTIONS = ("points", "boxes", "scores", "labels")


@dataclass(frozen=True)
class Case:
    """Points and what a project made of them."""

    name: str
    points: np.ndarray  # (n, 4) float32: x, y, z, reflectance, in the file's order
    arrays: dict[str, np.ndarray]
    options: dict[str, Any] = field(default_factory=dict)  # of the detector, for these arrays


def read_cases(path: Path, data_root: str | None) -> tuple[list[Case], list[str]]:
    """The cases of a folder or a file, and a line for each that cannot be read here.

    KITTI's frames lie in `data_root`, or else where KDBENCH_KITTI says. Raises DataError for a
    folder without any, and for damaged files.
    """
    if path.is_file():
        return [_detections(path)], []
    if not path.is_dir():
        raise DataError(f"{path}: no such case, neither a folder nor a file")
    cases, skipped = [], []
    inputs = read_inputs(path)
    for file in sorted(path.glob("*.npz")):
        arrays = _read(file)
        points = arrays.pop("points", None)
        if points is None:
            points = _kitti_points(file, inputs, arrays.pop("kept", None), data_root)
        if points is None:
            skipped.append(f"{file.name} not compared: give --data-root or set KDBENCH_KITTI")
        else:
            cases += _by_options(file.stem, points, arrays)
    if not cases:
        raise DataError(f"{path}: no file .npz in it that can be compared")
    return cases, skipped


def _by_options(name: str, points: np.ndarray, arrays: dict[str, np.ndarray]) -> list[Case]:
    """A case for the arrays of each set of options."""
    own = {k: v for k, v in arrays.items() if not k.startswith(tuple(UNDER))}
    cases = [Case(name, points, own)]
    for start, options in UNDER.items():
        found = {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
        if found:
            cases.append(Case(f"{name}/{start[:-1]}", points, found, options))
    return cases


def read_inputs(path: Path) -> dict[str, Any]:
    """The settings of a folder's `inputs.json`. Raises DataError when it is missing or damaged."""
    file = path / "inputs.json"
    try:
        values = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from None
    if not isinstance(values, dict):
        raise DataError(f"{file}: expected a dictionary")
    return values


def config_of(inputs: dict[str, Any], format: str, origin: str) -> dict[str, Any]:
    """The settings of `inputs.json` in the form of the project's own configuration."""
    point_range, classes = (look_up(inputs, name, origin) for name in ("point_range", "classes"))
    voxel, most = (inputs.get(name) for name in ("voxel_size", "max_points_per_voxel"))
    if format == "openpcdet":
        step = {"NAME": VOXELS, "VOXEL_SIZE": voxel, "MAX_POINTS_PER_VOXEL": most}
        parts = {k.upper(): v for k, v in inputs.items() if isinstance(v, dict)}
        return {
            "CLASS_NAMES": classes,
            "DATA_CONFIG": {"POINT_CLOUD_RANGE": point_range, "DATA_PROCESSOR": [step]},
            "MODEL": {"NAME": look_up(inputs, "detector", origin), **parts},
        }
    layer = {"point_cloud_range": point_range, "voxel_size": voxel, "max_num_points": most}
    parts = ("voxel_encoder", "middle_encoder", "backbone", "neck")
    head = ("anchor_generator", "dir_offset", "dir_limit_offset")
    head = {name: inputs[name] for name in head if name in inputs}
    model = {name: inputs.get(name, {}) for name in parts}
    if inputs.get("legacy_pillar_features") is not None:
        legacy = inputs["legacy_pillar_features"]
        model["voxel_encoder"] = {**model["voxel_encoder"], "legacy": legacy}
    model |= {"data_preprocessor": {"voxel_layer": layer}, "bbox_head": head}
    return {"model": model, "classes": classes}


def _detections(path: Path) -> Case:
    arrays = _read(path)
    if missing := [name for name in DETECTIONS if name not in arrays]:
        raise DataError(f"{path}: lacks the array {missing[0]!r}")
    points = np.asarray(arrays.pop("points"), np.float32)
    count = len(arrays["boxes"])
    fits = arrays["boxes"].shape == (count, 7) and points.ndim == 2 and points.shape[1] >= 4
    if not fits or {len(arrays[name]) for name in DETECTIONS[1:]} != {count}:
        raise DataError(f"{path}: expected points (n, 4), boxes (m, 7), scores and labels (m,)")
    return Case(path.stem, points[:, :4], {name: arrays[name] for name in DETECTIONS[1:]})


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, TypeError) as error:
        raise DataError(f"{path}: cannot be read as arrays ({error})") from None


def _kitti_points(file: Path, inputs: dict, kept, data_root: str | None) -> np.ndarray | None:
    """The points of a KITTI frame that were fed; None where there is no KITTI."""
    root = data_root or os.environ.get("KDBENCH_KITTI")
    if not root:
        return None
    frame = file.stem.removeprefix("kitti_")
    cloud = Path(root) / "training/velodyne" / f"{frame}.bin"
    try:
        content = cloud.read_bytes()
    except OSError as error:
        raise DataError(f"{cloud}: cannot be read ({error.strerror})") from None
    if kept is None or hashlib.sha256(content).hexdigest() != inputs["frames"]["sha256"]:
        raise DataError(f"{cloud}: not the cloud that {file} was made from")
    points = np.frombuffer(content, "<f4").reshape(-1, 4)
    return points[np.unpackbits(kept, count=len(points)).astype(bool)]
