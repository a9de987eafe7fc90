"""Settings of OpenPCDet's networks, from a configuration in the form of its YAML files."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from kdbench.detectors.layers.anchors import KITTI_ANCHORS
from kdbench.detectors.layers.pointnet2 import BALLS, SHARE
from kdbench.errors import UsageError
from kdbench.imports import center_layers, point_layers
from kdbench.imports.settings import Settings, anchor_options, floats, look_up, over, voxel_options

# What MODEL.NAME calls the networks that kdbench has.
NAMES = {
    "pointpillars": "PointPillar",
    "second": "SECONDNet",
    "centerpoint": "CenterPoint",
    "pointrcnn": "PointRCNN",
}
VOXELS = "transform_points_to_voxels"
DYNAMIC_VOXELS = "transform_points_to_voxels_placeholder"  # without caps, for DYNAMIC encoders
DYNAMIC = ("DynPillarVFE", "DynMeanVFE")
STRIDES = {"pointpillars": 2, "second": 8}  # voxels a cell of the head's map


def _published(point_range, voxel, most: int, strides) -> dict[str, Any]:
    """A KITTI configuration as published, as far as it matters here."""
    anchors = [
        {
            "class_name": name,
            "anchor_sizes": [list(anchor.size)],
            "anchor_rotations": [0, 1.57],
            "anchor_bottom_heights": [anchor.bottom],
            "align_center": False,
        }
        for name, anchor in KITTI_ANCHORS.items()
    ]
    head = {"DIR_OFFSET": 0.78539, "DIR_LIMIT_OFFSET": 0.0, "ANCHOR_GENERATOR_CONFIG": anchors}
    processor = {"NAME": VOXELS, "VOXEL_SIZE": voxel, "MAX_POINTS_PER_VOXEL": most}
    return {
        "CLASS_NAMES": list(KITTI_ANCHORS),
        "DATA_CONFIG": {"POINT_CLOUD_RANGE": point_range, "DATA_PROCESSOR": [processor]},
        "MODEL": {"BACKBONE_2D": {"LAYER_STRIDES": strides}, "DENSE_HEAD": head},
    }


_PILLARS = ([0, -39.68, -3, 69.12, 39.68, 1], [0.16, 0.16, 4], 32)
_PROPOSALS = {"NMS_PRE_MAXSIZE": 9000, "NMS_POST_MAXSIZE": 100, "NMS_THRESH": 0.85}
PUBLISHED = {
    "pointpillars": _published(*_PILLARS, [2, 2, 2]),
    # There is none of CenterPoint for KITTI: its strides are those for Waymo.
    "centerpoint": _published(*_PILLARS, [1, 2, 2]),
    "pointrcnn": {
        "CLASS_NAMES": list(KITTI_ANCHORS),
        "DATA_CONFIG": {"POINT_CLOUD_RANGE": [0, -40, -3, 70.4, 40, 1]},
        "MODEL": {
            "BACKBONE_3D": {"SA_CONFIG": {"NPOINTS": [4096, 1024, 256, 64]}},
            "ROI_HEAD": {
                "ROI_POINT_POOL": {"POOL_EXTRA_WIDTH": [0, 0, 0], "NUM_SAMPLED_POINTS": 512},
                "SA_CONFIG": {"NPOINTS": [128, 32, -1]},
                "NMS_CONFIG": {"TEST": _PROPOSALS},
            },
        },
    },
    "second": _published([0, -40, -3, 70.4, 40, 1], [0.05, 0.05, 0.1], 5, [1, 2]),
}


def read_yaml(path: Path) -> dict[str, Any]:
    """A configuration file, over the one that it names as its base where that is found."""
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UsageError(f"{path}: not valid YAML") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path}: expected `key: value` lines")
    data = values.get("DATA_CONFIG")
    base = data.get("_BASE_CONFIG_") if isinstance(data, dict) else None
    for folder in path.resolve().parents:
        if base and (folder / base).is_file():
            return {**values, "DATA_CONFIG": over(read_yaml(folder / base), data)}
    return values


def settings(detector: str, config: dict | None, origin: str) -> Settings:
    """The settings of a detector by a configuration; what that leaves out is as published."""
    notes: tuple[str, ...] = ()
    if config is None:
        origin = f"OpenPCDet's {detector} for KITTI as published"
        if detector == "centerpoint":
            origin = "OpenPCDet's pillars for KITTI, with CenterPoint's strides for Waymo"
        notes = (f"no settings given: taken as {origin}",)
    elif "POINT_CLOUD_RANGE" not in (config.get("DATA_CONFIG") or {}):
        notes = (f"{origin} and its base say no range of points: taken as published",)
    values = over(PUBLISHED[detector], config or {})
    name = values["MODEL"].get("NAME", NAMES[detector])
    if name != NAMES[detector]:
        raise UsageError(f"{origin}: is of {name}, not of {NAMES[detector]}")
    known = Settings(tuple(values["CLASS_NAMES"]), {}, origin, notes=notes)
    if detector == "pointrcnn":
        return replace(known, options=_points(values, origin))
    options = _grid(detector, values, origin)
    if detector == "centerpoint":
        own = {"strides": _strides(values, origin), "head_eps": center_layers.NORM_EPS}
        return replace(known, options=options | own | {"clamped": False})
    return replace(known, options=options | _anchors(detector, values, known, origin))


def _points(values: dict, origin: str) -> dict[str, Any]:
    """The options of PointRCNN, in the form of residuals."""
    kept = look_up(values, "MODEL.BACKBONE_3D.SA_CONFIG.NPOINTS", origin)
    pool = look_up(values, "MODEL.ROI_HEAD.ROI_POINT_POOL", origin)
    test = look_up(values, "MODEL.ROI_HEAD.NMS_CONFIG.TEST", origin)
    centres = look_up(values, "MODEL.ROI_HEAD.SA_CONFIG.NPOINTS", origin)
    points = kept[0] * SHARE
    if list(kept) != [points // SHARE ** (i + 1) for i in range(len(BALLS))]:
        raise UsageError(f"{origin}: each level must keep one point in {SHARE}, not {kept}")
    point_range = look_up(values, "DATA_CONFIG.POINT_CLOUD_RANGE", origin)
    return {
        "point_range": floats(point_range, 6, "the range of points", origin),
        "points": points,
        "coder": "residuals",
        "roi_coder": "residuals",
        "proposals_before": test["NMS_PRE_MAXSIZE"],
        "proposals_test": test["NMS_POST_MAXSIZE"],
        "proposal_nms": float(test["NMS_THRESH"]),
        "roi_points": pool["NUM_SAMPLED_POINTS"],
        "roi_margin": _margin(pool, origin),
        "roi_centres": list(centres[:2]),
        "norm_eps": point_layers.NORM_EPS,
        "interpolation_power": 1,
        "score_empty": True,
        "clamped": False,
    }


def _margin(pool: dict, origin: str) -> float:
    """Metres beyond each face of a RoI; there it is what all of a side grows by."""
    widths = set(look_up(pool, "POOL_EXTRA_WIDTH", origin))
    if len(widths) != 1:
        raise UsageError(f"{origin}: POOL_EXTRA_WIDTH must be the same along x, y and z")
    return float(widths.pop()) / 2


def _grid(detector: str, values: dict, origin: str) -> dict[str, Any]:
    steps = look_up(values, "DATA_CONFIG.DATA_PROCESSOR", origin)
    dynamic = (values["MODEL"].get("VFE") or {}).get("NAME") in DYNAMIC
    name = DYNAMIC_VOXELS if dynamic else VOXELS
    step = next((s for s in steps if s.get("NAME") == name), None)
    if step is None:
        raise UsageError(f"{origin}: DATA_CONFIG.DATA_PROCESSOR has no {name}")
    point_range = look_up(values, "DATA_CONFIG.POINT_CLOUD_RANGE", origin)
    size = look_up(step, "VOXEL_SIZE", origin)
    most = 0 if dynamic else look_up(step, "MAX_POINTS_PER_VOXEL", origin)
    strides = _strides(values, origin)
    expected = PUBLISHED[detector]["MODEL"]["BACKBONE_2D"]["LAYER_STRIDES"]
    if detector != "centerpoint" and strides != expected:
        raise UsageError(f"{origin}: LAYER_STRIDES must be {expected}, not {strides}")
    return voxel_options(detector, point_range, size, most, origin)


def _strides(values: dict, origin: str) -> list[int]:
    return list(look_up(values, "MODEL.BACKBONE_2D.LAYER_STRIDES", origin))


def _anchors(detector: str, values: dict, known: Settings, origin: str) -> dict[str, Any]:
    head = look_up(values, "MODEL.DENSE_HEAD", origin)
    kinds = {kind.get("class_name"): kind for kind in head["ANCHOR_GENERATOR_CONFIG"]}
    if missing := [name for name in known.own_classes if name not in kinds]:
        raise UsageError(f"{origin}: no anchors of class {missing[0]!r}")
    kinds = [kinds[name] for name in known.own_classes]
    sizes, bottoms, rotations = (
        [look_up(kind, key, origin) for kind in kinds]
        for key in ("anchor_sizes", "anchor_bottom_heights", "anchor_rotations")
    )
    centred = {bool(kind.get("align_center", False)) for kind in kinds}
    strides = {kind.get("feature_map_stride", STRIDES[detector]) for kind in kinds}
    same = len(centred) == 1 and all(r == rotations[0] for r in rotations)
    if not same or {*map(len, sizes), *map(len, bottoms)} != {1} or strides != {STRIDES[detector]}:
        raise UsageError(
            f"{origin}: anchors must be of one size a class, of the same rotations and places for "
            f"all, and every {STRIDES[detector]} voxels"
        )
    first = look_up(head, "DIR_OFFSET", origin) - head.get("DIR_LIMIT_OFFSET", 0) * math.pi
    at = "centres" if centred.pop() else "ends"
    return anchor_options([s[0] for s in sizes], [b[0] for b in bottoms], rotations[0], at, first)
