"""Settings of mmdetection3d's networks, from the configuration that its checkpoints hold."""

import math
from typing import Any

from packaging.version import InvalidVersion, Version

from kdbench.dataset import Dataset
from kdbench.detectors.layers.anchors import KITTI_ANCHORS
from kdbench.errors import DataError, UsageError
from kdbench.imports.checkpoint import Checkpoint
from kdbench.imports.settings import Settings, anchor_options, look_up, over, voxel_options
from kdbench.imports.text_config import read_text
from kdbench.registry.suggest import unknown

CLASSES = ("Pedestrian", "Cyclist", "Car")  # in the order of its KITTI configurations
# Where a generator of anchors puts them.
GENERATORS = {"AlignedAnchor3DRangeGenerator": "centres", "Anchor3DRangeGenerator": "ends"}
NORMED, NORM_EPS = ("voxel_encoder", "middle_encoder", "backbone", "neck"), 1e-3
DIR_OFFSET = -math.pi / 2  # of a head that does not say


def _published(point_range, voxel, most: int, strides, generator: str) -> dict[str, Any]:
    """A KITTI configuration as published, as far as it matters here."""
    low, high = point_range[:2], point_range[3:5]
    kinds = [KITTI_ANCHORS[name] for name in CLASSES]
    anchors = {
        "type": generator,
        "ranges": [[*low, kind.bottom, *high, kind.bottom] for kind in kinds],
        "sizes": [list(kind.size) for kind in kinds],
        "rotations": [0, 1.57],
    }
    layer = {"point_cloud_range": point_range, "voxel_size": voxel, "max_num_points": most}
    return {
        "classes": list(CLASSES),
        "model": {
            "data_preprocessor": {"voxel_layer": layer},
            "backbone": {"layer_strides": strides},
            "bbox_head": {"anchor_generator": anchors},
        },
    }


PUBLISHED = {
    "pointpillars": _published(
        [0, -39.68, -3, 69.12, 39.68, 1], [0.16, 0.16, 4], 32, [2, 2, 2],
        "AlignedAnchor3DRangeGenerator",
    ),
    "second": _published(
        [0, -40, -3, 70.4, 40, 1], [0.05, 0.05, 0.1], 5, [1, 2], "Anchor3DRangeGenerator"
    ),
}  # fmt: skip


def settings(
    detector: str, file: Checkpoint, config: dict | None, origin: str, trusted: bool
) -> Settings:
    """The settings of a detector by `config`, or else by what the file says of itself.

    `trusted` takes a file that does not say its version for one of 1.0 or later. Raises DataError
    for an older one.
    """
    notes = _check_version(file, trusted)
    if config is None:
        config, origin = _of_file(file), f"the configuration in {file.path.name}"
    if config is None:
        origin = f"mmdetection3d's {detector} for KITTI as published"
        notes += (f"no settings in {file.path.name}: taken as {origin}",)
    values = over(PUBLISHED[detector], config or {})
    if "voxel_layer" in values["model"]:  # of the versions before 1.1
        values["model"]["data_preprocessor"] = {"voxel_layer": values["model"]["voxel_layer"]}
    classes = _classes(file, config)
    if strange := [name for name in classes if name not in Dataset.classes]:
        raise DataError(f"{file.path}: {unknown('class', strange[0], Dataset.classes)}")
    known = Settings(classes, {}, origin)
    options = _grid(detector, values, origin)
    options |= _norm_eps(values["model"], origin)
    options |= _anchors(values, known, options["point_range"], origin)
    legacy = bool(values["model"].get("voxel_encoder", {}).get("legacy", True))
    return Settings(classes, options, origin, legacy, notes)


def _check_version(file: Checkpoint, trusted: bool) -> tuple[str, ...]:
    """Refuses files from before 1.0; returns what a user should know of one without version."""
    if "mmengine_version" in file.meta:  # which versions before 1.1 did not know
        return ()
    said = str(file.meta.get("mmdet3d_version", ""))
    try:
        if Version(said).release >= (1,):
            return ()
        raise DataError(
            f"{file.path}: written by mmdetection3d {said}; before 1.0 its boxes had width and "
            "length in another order and headings another meaning: there is no right import"
        )
    except InvalidVersion:
        if trusted:
            return ("the file does not say its version: taken for one of mmdetection3d 1.0 on",)
    raise DataError(
        f"{file.path}: does not say which mmdetection3d wrote it, and before 1.0 boxes had another "
        "meaning; if it is of 1.0 or later, say so with --format mmdet3d"
    )


def _of_file(file: Checkpoint) -> dict[str, Any] | None:
    """The configuration in a file; None where there is none."""
    text = file.meta.get("cfg", file.meta.get("config"))
    if isinstance(text, dict):
        return text
    if not isinstance(text, str):
        return None
    values = read_text(text, f"{file.path}")
    return values if isinstance(values.get("model"), dict) else None


def _norm_eps(model: dict, origin: str) -> dict[str, float]:
    """The option `norm_eps`. Raises UsageError unless it is the same for all parts."""
    parts = [model.get(name) for name in NORMED]
    norms = [part["norm_cfg"] for part in parts if isinstance(part, dict) and part.get("norm_cfg")]
    found = {norm.get("eps", NORM_EPS) for norm in norms}
    if len(found) > 1:
        raise UsageError(f"{origin}: norms must all have the same eps, not {sorted(found)}")
    return {"norm_eps": float(*found)} if found else {}


def _classes(file: Checkpoint, config: dict | None) -> tuple[str, ...]:
    """The classes in the file's order."""
    config, known = config or {}, file.meta.get("dataset_meta")
    known = known if isinstance(known, dict) else {}
    said = config.get("classes") or known.get("classes") or known.get("CLASSES")
    said = said or file.meta.get("CLASSES") or config.get("class_names") or CLASSES
    return (said,) if isinstance(said, str) else tuple(said)


def _grid(detector: str, values: dict, origin: str) -> dict[str, Any]:
    layer = look_up(values, "model.data_preprocessor.voxel_layer", origin)
    names = ("point_cloud_range", "voxel_size", "max_num_points")
    point_range, size, most = (look_up(layer, name, origin) for name in names)
    expected = PUBLISHED[detector]["model"]["backbone"]["layer_strides"]
    strides = look_up(values, "model.backbone.layer_strides", origin)
    if strides != expected:
        raise UsageError(f"{origin}: layer_strides must be {expected}, not {strides}")
    return voxel_options(detector, point_range, size, most, origin)


def _anchors(values: dict, known: Settings, point_range, origin: str) -> dict[str, Any]:
    head = look_up(values, "model.bbox_head", origin)
    generator = look_up(head, "anchor_generator", origin)
    kind, ranges, sizes, rotations = (
        look_up(generator, name, origin) for name in ("type", "ranges", "sizes", "rotations")
    )
    ranges = ranges * len(sizes) if len(ranges) == 1 else ranges
    kind = str(kind).rpartition(".")[2]  # some configurations name the package too
    over_range = {(*r[:2], *r[3:5]) for r in ranges} == {(*point_range[:2], *point_range[3:5])}
    if kind not in GENERATORS or generator.get("align_corner") or not over_range:
        raise UsageError(
            f"{origin}: anchors must be of {' or '.join(GENERATORS)} and over the range of points"
        )
    if not len(sizes) == len(ranges) == len(known.classes):
        raise UsageError(f"{origin}: {len(sizes)} anchors for {len(known.classes)} classes")
    sizes, bottoms = ([rows[i] for i in known.order] for rows in (sizes, [r[2] for r in ranges]))
    first = head.get("dir_offset", DIR_OFFSET) - head.get("dir_limit_offset", 0) * math.pi
    return anchor_options(sizes, bottoms, rotations, GENERATORS[kind], first)
