"""OpenPCDet's YAML of a detector: what `tools/test.py` and `tools/train.py` take.

What is of training there (losses, targets) is as published.
"""

from typing import Any

from kdbench.detector import Detector
from kdbench.detectors import pointpillars, second
from kdbench.detectors.centerpoint import FORMS
from kdbench.detectors.layers import anchors as A
from kdbench.errors import UsageError
from kdbench.export import pcdet_points_config as points
from kdbench.imports import pcdet
from kdbench.imports.bev_layers import NAMES as LAYERS
from kdbench.imports.bev_layers import map_widths
from kdbench.imports.checkpoint import Checkpoint

MOST_CELLS = 200_000  # more than a frame has: kdbench has no cap on pillars and voxels


def config(detector: Detector, file: Checkpoint, options: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a detector with all its options, whose tensors are those of a file."""
    model = {"NAME": pcdet.NAMES[detector.name]} | PARTS[detector.name](detector, file, options)
    model["POST_PROCESSING"] = _post_processing(options)
    data = {
        "_BASE_CONFIG_": "cfgs/dataset_configs/kitti_dataset.yaml",
        "POINT_CLOUD_RANGE": list(detector.point_range),
        "DATA_PROCESSOR": [
            {"NAME": "mask_points_and_boxes_outside_range", "REMOVE_OUTSIDE_BOXES": True},
            *_points_step(detector),
            {"NAME": "shuffle_points", "SHUFFLE_ENABLED": {"train": True, "test": False}},
            *_cells_step(detector, options),
        ],
    }
    return {
        "CLASS_NAMES": list(detector.classes),
        "DATA_CONFIG": data,
        "MODEL": model,
        "OPTIMIZATION": {"BATCH_SIZE_PER_GPU": 4, "NUM_EPOCHS": 80},
    }


def check(detector: Detector, options: dict[str, Any]) -> None:
    """Raises UsageError for what OpenPCDet has nothing like."""
    if detector.name not in PARTS:
        raise UsageError(
            f"detector {detector.name!r} is not one of OpenPCDet's that can be written"
        )
    others = {"norm_eps": 1e-3, "form": "pillar"}
    wanted = points.NEEDED if detector.name == "pointrcnn" else others
    for name, value in wanted.items():
        if options.get(name, value) != value:
            raise UsageError(
                f"OpenPCDet has no {detector.name} with {name}={options[name]!r}, only "
                f"{name}={value!r}"
            )


def _points_step(detector: Detector) -> list[dict]:
    if detector.name != "pointrcnn":
        return []
    count = {"train": detector.points, "test": detector.points}
    return [{"NAME": "sample_points", "NUM_POINTS": count}]


def _cells_step(detector: Detector, options: dict[str, Any]) -> list[dict]:
    """How points become pillars or voxels."""
    if detector.name == "pointrcnn":
        return []
    size, (*_, low, _, _, high) = options.get("voxel_size"), detector.point_range
    if detector.name != "second":
        size = [options["pillar_size"], options["pillar_size"], high - low]
    step = {"NAME": pcdet.VOXELS, "VOXEL_SIZE": list(size)}
    if not options["max_points"]:
        return [step | {"NAME": pcdet.DYNAMIC_VOXELS}]
    most = {"train": MOST_CELLS, "test": MOST_CELLS}
    cap = {"MAX_POINTS_PER_VOXEL": options["max_points"], "MAX_NUMBER_OF_VOXELS": most}
    return [step | cap]


def _pillars(width: int, options: dict[str, Any]) -> dict[str, Any]:
    vfe = {
        "NAME": "PillarVFE" if options["max_points"] else "DynPillarVFE",
        "WITH_DISTANCE": False, "USE_ABSLOTE_XYZ": True, "USE_NORM": True, "NUM_FILTERS": [width],
    }  # fmt: skip
    scatter = {"NAME": "PointPillarScatter", "NUM_BEV_FEATURES": width}
    return {"VFE": vfe, "MAP_TO_BEV": scatter}


def _map(file: Checkpoint, depths, strides, factors) -> dict[str, Any]:
    widths = map_widths(file, LAYERS["openpcdet"], len(depths))
    return {
        "BACKBONE_2D": {
            "NAME": "BaseBEVBackbone",
            "LAYER_NUMS": list(depths),
            "LAYER_STRIDES": list(strides),
            "NUM_FILTERS": widths[: len(depths)],
            "UPSAMPLE_STRIDES": list(factors),
            "NUM_UPSAMPLE_FILTERS": widths[len(depths) :],
        }
    }


def _pillar_width(file: Checkpoint) -> int:
    return file.shape(f"{LAYERS['openpcdet'].pillars}.0.linear.weight")[0]


def _pointpillars(detector, file, options) -> dict[str, Any]:
    p = pointpillars
    return {
        **_pillars(_pillar_width(file), options),
        **_map(file, p.DEPTHS, p.STRIDES, p.NECK_FACTORS),
        "DENSE_HEAD": _anchor_head(detector, p.STRIDES[0]),
    }


def _second(detector, file, options) -> dict[str, Any]:
    return {
        "VFE": {"NAME": "MeanVFE" if options["max_points"] else "DynMeanVFE"},
        "BACKBONE_3D": {"NAME": "VoxelBackBone8x"},
        "MAP_TO_BEV": {"NAME": "HeightCompression", "NUM_BEV_FEATURES": 256},
        **_map(file, second.DEPTHS, second.STRIDES, second.NECK_FACTORS),
        "DENSE_HEAD": _anchor_head(detector, pcdet.STRIDES["second"]),
    }


def _centerpoint(detector, file, options) -> dict[str, Any]:
    form = FORMS["pillar"]
    strides = options["strides"] or form.strides
    sizes = {"center": 2, "center_z": 1, "dim": 3, "rot": 2}
    branches = {name: {"out_channels": n, "num_conv": 2} for name, n in sizes.items()}
    head = {
        "NAME": "CenterHead",
        "CLASS_AGNOSTIC": False,
        "CLASS_NAMES_EACH_HEAD": [list(detector.classes)],
        "SHARED_CONV_CHANNEL": file.shape("dense_head.shared_conv.0.weight")[0],
        "USE_BIAS_BEFORE_NORM": False,
        "NUM_HM_CONV": 2,
        "SEPARATE_HEAD_CFG": {"HEAD_ORDER": list(sizes), "HEAD_DICT": branches},
        "TARGET_ASSIGNER_CONFIG": {
            "FEATURE_MAP_STRIDE": strides[0], "NUM_MAX_OBJS": 500, "GAUSSIAN_OVERLAP": 0.1,
            "MIN_RADIUS": 2,
        },
        "LOSS_CONFIG": _losses("cls loc", 8),
        "POST_PROCESSING": {
            "SCORE_THRESH": options["score_threshold"],
            "POST_CENTER_LIMIT_RANGE": list(detector.point_range),
            "MAX_OBJ_PER_SAMPLE": 500,
            "NMS_CONFIG": _nms(options["nms_threshold"], options),
        },
    }  # fmt: skip
    parts = (form.depths, strides, form.neck_factors)
    return {**_pillars(_pillar_width(file), options), **_map(file, *parts), "DENSE_HEAD": head}


def _anchor_head(detector, stride: int) -> dict[str, Any]:
    """The head; every anchor as it stands in the detector."""
    form = detector.head.form
    kinds = [
        {
            "class_name": name,
            "anchor_sizes": [[float(x) for x in size]],
            "anchor_rotations": [float(x) for x in form.headings],
            "anchor_bottom_heights": [float(bottom)],
            "align_center": form.at == "centres",
            "feature_map_stride": stride,
            "matched_threshold": A.KITTI_ANCHORS[name].matched,
            "unmatched_threshold": A.KITTI_ANCHORS[name].unmatched,
        }
        for name, (size, bottom) in zip(
            detector.classes, A.shapes(detector.kinds, form), strict=True
        )
    ]
    return {
        "NAME": "AnchorHeadSingle",
        "CLASS_AGNOSTIC": False,
        "USE_DIRECTION_CLASSIFIER": True,
        "DIR_OFFSET": float(form.first_bin),
        "DIR_LIMIT_OFFSET": 0.0,
        "NUM_DIR_BINS": 2,
        "ANCHOR_GENERATOR_CONFIG": kinds,
        "TARGET_ASSIGNER_CONFIG": {
            "NAME": "AxisAlignedTargetAssigner", "POS_FRACTION": -1.0, "SAMPLE_SIZE": 512,
            "NORM_BY_NUM_EXAMPLES": False, "MATCH_HEIGHT": False, "BOX_CODER": "ResidualCoder",
        },
        "LOSS_CONFIG": _losses("cls loc dir", 7),
    }  # fmt: skip


def _losses(parts: str, codes: int) -> dict[str, Any]:
    weights = {"cls": 1.0, "loc": 2.0, "dir": 0.2}
    found = {f"{part}_weight": weights[part] for part in parts.split()}
    return {"LOSS_WEIGHTS": found | {"code_weights": [1.0] * codes}}


def _post_processing(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "RECALL_THRESH_LIST": [0.3, 0.5, 0.7],
        "SCORE_THRESH": options["score_threshold"],
        "OUTPUT_RAW_SCORE": False,
        "EVAL_METRIC": "kitti",
        "NMS_CONFIG": {"MULTI_CLASSES_NMS": False, **_nms(options["nms_threshold"], options)},
    }


def _nms(threshold: float, options: dict[str, Any]) -> dict[str, Any]:
    before, after = options.get("nms_before", 4096), options["nms_after"]
    return {
        "NMS_TYPE": "nms_gpu", "NMS_THRESH": threshold, "NMS_PRE_MAXSIZE": before,
        "NMS_POST_MAXSIZE": after,
    }  # fmt: skip


PARTS = {
    "pointpillars": _pointpillars,
    "second": _second,
    "centerpoint": _centerpoint,
    "pointrcnn": points.pointrcnn,
}
