"""PointRCNN in OpenPCDet's YAML. What is of training there is as published."""

from typing import Any

from kdbench.detectors.layers import rcnn_head
from kdbench.detectors.layers.pointnet2 import BALLS, SHARE
from kdbench.imports.checkpoint import Checkpoint
from kdbench.imports.point_layers import BACKBONE, FIRST, NORM_EPS, SECOND

# What kdbench's PointRCNN must be for OpenPCDet to have it.
NEEDED = {
    "coder": "residuals", "roi_coder": "residuals", "interpolation_power": 1, "score_empty": True,
    "fused_scores": False, "even": False, "norm_eps": NORM_EPS,
}  # fmt: skip
LEVELS = range(len(BALLS))


def pointrcnn(detector, file: Checkpoint, options: dict[str, Any]) -> dict[str, Any]:
    """The parts of the model."""
    return {
        "BACKBONE_3D": _backbone(detector.points, file),
        "POINT_HEAD": _point_head(detector, file),
        "ROI_HEAD": _roi_head(file, options),
    }


def _widths(file: Checkpoint, name: str, layers: tuple[int, ...]) -> list[int]:
    return [file.shape(f"{name}.{i}.weight")[0] for i in layers]


def _backbone(points: int, file: Checkpoint) -> dict[str, Any]:
    abstraction = f"{BACKBONE}.SA_modules"
    mlps = [
        [_widths(file, f"{abstraction}.{i}.mlps.{k}", (0, 3, 6)) for k in range(len(BALLS[i]))]
        for i in LEVELS
    ]
    return {
        "NAME": "PointNet2MSG",
        "SA_CONFIG": {
            "NPOINTS": [points // SHARE ** (i + 1) for i in LEVELS],
            "RADIUS": [[radius for radius, _ in balls] for balls in BALLS],
            "NSAMPLE": [[count for _, count in balls] for balls in BALLS],
            "MLPS": mlps,
        },
        "FP_MLPS": [_widths(file, f"{BACKBONE}.FP_modules.{i}.mlp", (0, 3)) for i in LEVELS],
    }


def _point_head(detector, file: Checkpoint) -> dict[str, Any]:
    sizes = [[float(x) for x in row] for row in detector.head.sizes]
    return {
        "NAME": "PointHeadBox",
        "CLS_FC": _widths(file, f"{FIRST}.cls_layers", (0, 3)),
        "REG_FC": _widths(file, f"{FIRST}.box_layers", (0, 3)),
        "CLASS_AGNOSTIC": False,
        "USE_POINT_FEATURES_BEFORE_FUSION": False,
        "TARGET_CONFIG": {
            "GT_EXTRA_WIDTH": [0.2] * 3,
            "BOX_CODER": "PointResidualCoder",
            "BOX_CODER_CONFIG": {"use_mean_size": True, "mean_size": sizes},
        },
        "LOSS_CONFIG": {
            "LOSS_REG": "WeightedSmoothL1Loss",
            "LOSS_WEIGHTS": {
                "point_cls_weight": 1.0, "point_box_weight": 1.0, "code_weights": [1.0] * 8,
            },
        },
    }  # fmt: skip


def _roi_head(file: Checkpoint, options: dict[str, Any]) -> dict[str, Any]:
    pool = {
        "POOL_EXTRA_WIDTH": [2 * options["roi_margin"]] * 3,
        "NUM_SAMPLED_POINTS": options["roi_points"],
        "DEPTH_NORMALIZER": rcnn_head.FARTHEST,
    }
    return {
        "NAME": "PointRCNNHead",
        "CLASS_AGNOSTIC": True,
        "ROI_POINT_POOL": pool,
        "XYZ_UP_LAYER": _widths(file, f"{SECOND}.xyz_up_layer", (0, 2)),
        "CLS_FC": _widths(file, f"{SECOND}.cls_layers", (0, 4)),
        "REG_FC": _widths(file, f"{SECOND}.reg_layers", (0, 4)),
        "DP_RATIO": 0.0,
        "USE_BN": False,
        "SA_CONFIG": _abstractions(file, options["roi_centres"]),
        "NMS_CONFIG": {
            "TRAIN": _proposals(options, options["proposals_train"], 0.8),
            "TEST": _proposals(options, options["proposals_test"], options["proposal_nms"]),
        },
        **_training(),
    }


def _abstractions(file: Checkpoint, centres: list[int]) -> dict[str, Any]:
    """Those of a proposal; the last is over all of its points."""
    count = len(rcnn_head.STAGES)
    mlps = [_widths(file, f"{SECOND}.SA_modules.{i}.mlps.0", (0, 3, 6)) for i in range(count + 1)]
    radii, neighbours = zip(*(stage[:2] for stage in rcnn_head.STAGES), strict=True)
    return {
        "NPOINTS": [*centres, -1],
        "RADIUS": [*radii, 100],
        "NSAMPLE": [*neighbours, 16],
        "MLPS": mlps,
    }


def _proposals(options: dict[str, Any], after: int, threshold: float) -> dict[str, Any]:
    return {
        "NMS_TYPE": "nms_gpu", "MULTI_CLASSES_NMS": False, "NMS_THRESH": threshold,
        "NMS_PRE_MAXSIZE": options["proposals_before"], "NMS_POST_MAXSIZE": after,
    }  # fmt: skip


def _training() -> dict[str, Any]:
    weights = {f"rcnn_{part}_weight": 1.0 for part in ("cls", "reg", "corner")}
    return {
        "TARGET_CONFIG": {
            "BOX_CODER": "ResidualCoder", "ROI_PER_IMAGE": 128, "FG_RATIO": 0.5,
            "SAMPLE_ROI_BY_EACH_CLASS": True, "CLS_SCORE_TYPE": "cls", "CLS_FG_THRESH": 0.6,
            "CLS_BG_THRESH": 0.45, "CLS_BG_THRESH_LO": 0.1, "HARD_BG_RATIO": 0.8,
            "REG_FG_THRESH": 0.55,
        },
        "LOSS_CONFIG": {
            "CLS_LOSS": "BinaryCrossEntropy", "REG_LOSS": "smooth-l1",
            "CORNER_LOSS_REGULARIZATION": True,
            "LOSS_WEIGHTS": weights | {"code_weights": [1.0] * 7},
        },
    }  # fmt: skip
