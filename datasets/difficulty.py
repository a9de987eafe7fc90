"""Which objects a person, or a detector, can be asked to find."""

import numpy as np

from kdbench.geometry.kitti_labels import KittiObjects


def difficulty(objects: KittiObjects) -> np.ndarray:
    """KITTI's difficulty of each object: 0 easy, 1 moderate, 2 hard, -1 none of them; (n,) int64.

    The height is counted in whole pixels, first and last included, as the field does when it
    picks objects for sampling.
    """
    height = objects.bbox[:, 3] - objects.bbox[:, 1] + 1
    result = np.full(len(objects), -1, np.int64)
    limits = ((2, 25, 2, 0.5), (1, 25, 1, 0.3), (0, 40, 0, 0.15))  # from hard to easy
    for level, min_height, max_occluded, max_truncated in limits:
        reached = (
            (height >= min_height)
            & (objects.occluded <= max_occluded)
            & (objects.truncated <= max_truncated)
        )
        result[reached] = level
    return result
