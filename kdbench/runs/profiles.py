"""Profiles: how large a run is. `quick` is the default; `paper` follows the published schedule.

A profile is a set of values for `RunSpec`, under the names that `--set` takes; "train of" is what a
detector needs otherwise. A teacher is trained as a student is, but for what "teacher" and
"teacher of" say.
"""

from typing import Any

# 41 m of the street, 15 m to either side, in pillars of twice the published size: a map of a
# 17th of the cells, so that a training takes minutes on two cores. Of KITTI's objects of moderate
# difficulty 82 % of the cars, 97 % of the pedestrians and 92 % of the cyclists are inside; the
# evaluation ignores the others, see `training/evaluate.py`.
_NEAR = {"point_range": [0.0, -15.36, -3.0, 40.96, 15.36, 1.0], "pillar_size": 0.32}
# 2.56 times the published size along x and y: a cell of SECOND's map is 1.02 m, less than twice
# the width of a pedestrian, so that every pedestrian still overlaps an anchor.
_COARSE_VOXELS = [0.128, 0.128, 0.1]
# PointDistiller takes 6,000 pillars of a batch of six frames with about 6,300 pillars each: a
# sixth. A frame of this range and pillar size has about 2,200.
_SMALL_GRAPHS = {"pointdistiller": {"n": 400, "k": 32}}
# Steps of the stages that some methods have before the training: a third of a student's.
_STAGES = {name: {"stage_steps": 400} for name in ("freekd", "ft", "label-encoder")}
_FEW_STEPS = {name: {"stage_steps": 2} for name in _STAGES}
# A turn of up to 45 degrees, as published, turns much of a cloud that only covers the camera's
# view out of this narrow range; a short training does not make up for it.
_SMALL_TURNS = {"augmentation": {"rotation": 0.2}}
_SHORT_TRAINING = {"bn_momentum": 0.05}
# A quarter of PointRCNN's points, of a frame and of a proposal alike, and fewer proposals. Most
# of a cloud's points are near; drawn evenly, few are enough for what is farther away.
_FEW_POINTS = {
    "points": 4096,
    "even": True,
    "proposals_train": 128,
    "rois": 32,
    "roi_points": 128,
    "roi_centres": [32, 16],
}
# The second stage sees a hundred times fewer proposals than it sees as published: not enough to
# learn to place a box in bins anew, or to rank boxes alone.
_SHORT_SECOND_STAGE = {"roi_coder": "residuals", "fused_scores": True}
# PointRCNN learns by far the slowest: half of the others' range, and more steps of two frames each.
_NEARER = {"point_range": [0.0, -12.8, -3.0, 25.6, 12.8, 1.0]}
_SMALL_BATCHES = {"steps": 1500, "batch_size": 2, "lr": 0.0015}
# Found for students at ratio 4 in 1,200 steps, see docs/protocol.md.
_HIGH_RATE = {"lr": 0.006, "beta2": 0.99}

PROFILES: dict[str, dict[str, Any]] = {
    # For tests and for trying things out: seconds, and no result worth anything.
    "tiny": {
        "dataset.options": {"train_frames": 8, "val_frames": 4},
        "detectors": {
            "pointpillars": {
                "point_range": [0.0, -10.24, -3.0, 20.48, 10.24, 1.0],
                "pillar_size": 0.64,
                **_SHORT_TRAINING,
            },
            "second": {
                "point_range": [0.0, -10.24, -3.0, 20.48, 10.24, 1.0],
                "voxel_size": [0.16, 0.16, 0.1],
                **_SHORT_TRAINING,
            },
            "centerpoint": {
                "point_range": [0.0, -10.24, -3.0, 20.48, 10.24, 1.0],
                "pillar_size": 0.64,
                "voxel_size": [0.16, 0.16, 0.1],
                **_SHORT_TRAINING,
            },
            "pointrcnn": {
                "point_range": [0.0, -10.24, -3.0, 20.48, 10.24, 1.0],
                **_FEW_POINTS,
                "points": 512,
                "roi_points": 32,
                "rois": 8,
                **_SHORT_SECOND_STAGE,
                **_SHORT_TRAINING,
            },
        },
        "methods": _FEW_STEPS,
        "train": {"steps": 4, "batch_size": 4},
        "teacher": {},
    },
    "quick": {
        "dataset.options": {"train_frames": 2000, "val_frames": 600, **_SMALL_TURNS},
        "detectors": {
            "pointpillars": {**_NEAR, **_SHORT_TRAINING},
            "second": {
                "point_range": _NEAR["point_range"],
                "voxel_size": _COARSE_VOXELS,
                **_SHORT_TRAINING,
            },
            "centerpoint": {**_NEAR, "voxel_size": _COARSE_VOXELS, **_SHORT_TRAINING},
            "pointrcnn": {
                **_NEARER,
                **_FEW_POINTS,
                **_SHORT_SECOND_STAGE,
                **_SHORT_TRAINING,
            },
        },
        "methods": _SMALL_GRAPHS | _STAGES,
        "train": {"steps": 1200, "batch_size": 4},
        "train of": {"pointpillars": _HIGH_RATE, "pointrcnn": _SMALL_BATCHES},
        "teacher": {"steps": 12_000, "lr": 0.003, "beta2": 0.99},
        "teacher of": {"pointrcnn": {"steps": 12_000, "lr": 0.0015}},
    },
    # 40 epochs of 3,712 frames.
    "standard": {
        "dataset.options": {"train_frames": 3712, "val_frames": 1000},
        "detectors": {"pointpillars": {}},
        "train": {"steps": 18_560, "batch_size": 8},
        "teacher": {},
    },
    # 160 epochs of 3,712 frames in batches of 6; AdamW at 1e-3, x10 at the peak; clip 35: the
    # released PointDistiller configuration on one device.
    "paper": {
        "dataset.options": {"train_frames": 3712, "val_frames": 3769},
        "detectors": {"pointpillars": {}},
        "train": {
            "steps": 98_987,
            "batch_size": 6,
            "grad_clip": 35.0,
            "lr": 1e-2,
        },
        "teacher": {},
    },
}
