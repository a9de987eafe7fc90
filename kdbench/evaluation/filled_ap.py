"""The AP by which runs are compared: moderate, 40 recall positions, recalls filled.

KITTI's own rule lets an object stand for one recall position only: a class of n objects, all of
them found, scores at most (n - 1) / 40, and an absent class 0. Here an object stands for all
positions up to the recall that it brings (`precision_curves`), and an absent class has no AP. With
some 40 objects of a class and more, the two are equal.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from kdbench.evaluation.kitti_ap import METRICS as KITTI_METRICS
from kdbench.evaluation.kitti_ap import Matches

METRICS = {"bev": "BEV", "3d": "3D"}  # key -> what people call it
DIFFICULTY, MODERATE = "moderate", 1

# metric -> class (lower case) -> percent, None for a class of which no object counts
FilledAP = dict[str, dict[str, float | None]]


def filled(matches: Matches) -> Matches:
    """The same matches, judged with filled recalls."""
    return replace(matches, fill_recall=True)


def filled_ap(matches: Matches) -> FilledAP:
    """What a record holds as `ap`."""
    r40 = filled(matches).average_precision()[:, :, 1, MODERATE]
    found = {}
    for metric in METRICS:
        column = r40[:, KITTI_METRICS.index(metric)]
        found[metric] = {
            name: float(value) if matches.positives[name, DIFFICULTY].any() else None
            for name, value in zip(matches.classes, column, strict=True)
        }
    return found


def ap_of(metrics: Mapping) -> FilledAP:
    """The `ap` of a record's metrics; of a record from before there was one, KITTI's own."""
    if "ap" in metrics:
        return metrics["ap"]
    return {
        metric: {name: by[metric]["R40"][MODERATE] for name, by in metrics["kitti"].items()}
        for metric in METRICS
    }


def mean_ap(ap: FilledAP, metric: str) -> float:
    """Mean over the classes that have an AP, in percent; 0 where none has."""
    known = [value for value in ap[metric].values() if value is not None]
    return float(np.mean(known)) if known else 0.0
