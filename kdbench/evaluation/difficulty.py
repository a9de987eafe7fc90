"""KITTI's rules of which objects count, at which difficulty, for which class.

Source: the development kit of the KITTI 3D object benchmark (2019).
"""

from dataclasses import dataclass

import numpy as np

from kdbench.classes import ObjectClass
from kdbench.geometry.kitti_labels import KittiObjects

# What an object is to a class and difficulty.
OTHER = -1  # as if it were not there
COUNTED = 0  # must be found; or, a detection, must be right
IGNORED = 1  # neither a hit nor a miss


@dataclass(frozen=True)
class DifficultyRule:
    """Which objects belong to a difficulty, by what is seen of them in the image."""

    min_height: float  # pixels
    max_occluded: int
    max_truncated: float


DIFFICULTIES = {
    "easy": DifficultyRule(40, 0, 0.15),
    "moderate": DifficultyRule(25, 1, 0.30),
    "hard": DifficultyRule(25, 2, 0.50),
}


def lower_names(objects: KittiObjects) -> np.ndarray:
    """Class names (n,) in lower case: KITTI compares them without regard to case."""
    unique, inverse = np.unique(objects.names, return_inverse=True)
    return np.array([str(name).lower() for name in unique], dtype=str)[inverse]


def ground_truth_flags(
    truth: KittiObjects, names: np.ndarray, kind: ObjectClass, difficulty: DifficultyRule
) -> np.ndarray:
    """OTHER, COUNTED or IGNORED (n,) int8 for each labelled object.

    names (n,) from `lower_names`; kind: the class.
    """
    height = truth.bbox[:, 3] - truth.bbox[:, 1]
    too_hard = truth.occluded > difficulty.max_occluded
    too_hard |= truth.truncated > difficulty.max_truncated
    too_hard |= height <= difficulty.min_height
    own = names == kind.key
    flags = np.full(len(names), OTHER, dtype=np.int8)
    flags[own & ~too_hard] = COUNTED
    flags[own & too_hard] = IGNORED
    if kind.neighbour is not None:
        flags[names == kind.neighbour.lower()] = IGNORED
    return flags


def detection_flags(
    found: KittiObjects, names: np.ndarray, kind: ObjectClass, difficulty: DifficultyRule
) -> np.ndarray:
    """OTHER, COUNTED or IGNORED (n,) int8 for each detection; arguments as above.

    A detection too small for the difficulty is ignored whatever its class: so small a Cyclist
    can take the place of a Car's match. The development kit does it this way.
    """
    height = np.abs(found.bbox[:, 1] - found.bbox[:, 3])
    flags = np.where(names == kind.key, COUNTED, OTHER).astype(np.int8)
    flags[height < difficulty.min_height] = IGNORED
    return flags
