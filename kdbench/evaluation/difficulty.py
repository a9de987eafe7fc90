"""KITTI's rules of which objects count, at which difficulty, for which class.

Source: the development kit of the KITTI 3D object benchmark (2019).
"""

from dataclasses import dataclass

import numpy as np

from kdbench.errors import UsageError
from kdbench.geometry.kitti_labels import KittiObjects

# What an object is to a class and difficulty.
OTHER = -1  # as if it were not there
COUNTED = 0  # must be found; or, a detection, must be right
IGNORED = 1  # neither a hit nor a miss


@dataclass(frozen=True)
class ClassRule:
    """What a class asks of a match."""

    min_overlap: float  # a match has more, in every metric
    neighbour: str | None = None  # a like class: finding one of it is no mistake


@dataclass(frozen=True)
class DifficultyRule:
    """Which objects belong to a difficulty, by what is seen of them in the image."""

    min_height: float  # pixels
    max_occluded: int
    max_truncated: float


CLASSES = {
    "car": ClassRule(0.7, "van"),
    "pedestrian": ClassRule(0.5, "person_sitting"),
    "cyclist": ClassRule(0.5),
}
DIFFICULTIES = {
    "easy": DifficultyRule(40, 0, 0.15),
    "moderate": DifficultyRule(25, 1, 0.30),
    "hard": DifficultyRule(25, 2, 0.50),
}


def class_key(name: str) -> str:
    """The key in CLASSES of a class, given in any case. Raises UsageError for an unknown one."""
    if name.lower() not in CLASSES:
        raise UsageError(f"no KITTI class {name!r}; there are: {', '.join(CLASSES)}")
    return name.lower()


def lower_names(objects: KittiObjects) -> np.ndarray:
    """Class names (n,) in lower case: KITTI compares them without regard to case."""
    unique, inverse = np.unique(objects.names, return_inverse=True)
    return np.array([str(name).lower() for name in unique], dtype=str)[inverse]


def ground_truth_flags(
    truth: KittiObjects, names: np.ndarray, class_name: str, difficulty: DifficultyRule
) -> np.ndarray:
    """OTHER, COUNTED or IGNORED (n,) int8 for each labelled object.

    names (n,) from `lower_names`; class_name: a key of CLASSES.
    """
    height = truth.bbox[:, 3] - truth.bbox[:, 1]
    too_hard = truth.occluded > difficulty.max_occluded
    too_hard |= truth.truncated > difficulty.max_truncated
    too_hard |= height <= difficulty.min_height
    own = names == class_name
    flags = np.full(len(names), OTHER, dtype=np.int8)
    flags[own & ~too_hard] = COUNTED
    flags[own & too_hard] = IGNORED
    neighbour = CLASSES[class_name].neighbour
    if neighbour is not None:
        flags[names == neighbour] = IGNORED
    return flags


def detection_flags(
    found: KittiObjects, names: np.ndarray, class_name: str, difficulty: DifficultyRule
) -> np.ndarray:
    """OTHER, COUNTED or IGNORED (n,) int8 for each detection; arguments as above.

    A detection too small for the difficulty is ignored whatever its class: so small a Cyclist
    can take the place of a Car's match. The development kit does it this way.
    """
    height = np.abs(found.bbox[:, 1] - found.bbox[:, 3])
    flags = np.where(names == class_name, COUNTED, OTHER).astype(np.int8)
    flags[height < difficulty.min_height] = IGNORED
    return flags
