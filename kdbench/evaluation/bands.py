"""Bands of objects: how far away, how much hidden, how well hit by the LiDAR."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from kdbench.evaluation.difficulty import DIFFICULTIES
from kdbench.geometry.boxes import boxes_camera_to_lidar, points_in_boxes
from kdbench.geometry.calibration import Calibration
from kdbench.geometry.kitti_labels import KittiObjects

MODERATE = DIFFICULTIES["moderate"]
# Moderate admits two levels of occlusion only; for its bands a third one counts.
RULES = {"occlusion": replace(MODERATE, max_occluded=2)}

# Frame -> trait -> (n,) of the frame's objects.
Traits = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Band:
    """Objects of which a trait is at least `low` and below `high`."""

    name: str
    low: float
    high: float = np.inf

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Which of the values (n,) lie in the band."""
        return (values >= self.low) & (values < self.high)


# Trait -> its bands. KITTI's levels of occlusion are 0, 1 and 2. Points: of 730 objects that are
# moderate in 150 synthetic frames, 13 have up to 20, but 86 up to 50.
BANDS = {
    "range": (Band("0-20 m", 0, 20), Band("20-40 m", 20, 40), Band("40+ m", 40)),
    "occlusion": (Band("visible", 0, 1), Band("partly", 1, 2), Band("largely", 2, 3)),
    "points": (Band("0-50 pt", 0, 51), Band("51-200 pt", 51, 201), Band("201+ pt", 201)),
}


def traits(
    objects: KittiObjects, calibration: Calibration, points: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """What BANDS ask of the objects, (n,) each.

    `range`: metres on the ground from the LiDAR to the centre of the box. With the frame's points
    (p, >= 3), LiDAR frame, as the detector gets them, also `occlusion` and `points`: how many lie
    in the box. Detections have no such traits.
    """
    boxes = boxes_camera_to_lidar(objects.hwl, objects.location, objects.rotation_y, calibration)
    found = {"range": np.hypot(boxes[:, 0], boxes[:, 1])}
    if points is None:
        return found
    return found | {
        "occlusion": objects.occluded,
        "points": points_in_boxes(points, boxes).sum(axis=0),
    }
