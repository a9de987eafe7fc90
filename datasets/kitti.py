"""KITTI 3D object detection (Geiger, Lenz and Urtasun, 2012), from a folder the user has.

Licensed CC BY-NC-SA 3.0; to be had from https://www.cvlibs.net/datasets/kitti.
"""

import os
from pathlib import Path
from typing import ClassVar

from kdbench.datasets.kitti_tree import KittiTree

from kdbench.errors import DataError


class Kitti(KittiTree):
    """KITTI under `root`, or under the environment variable KDBENCH_KITTI.

    Options and layout are those of `KittiTree`. Raises DataError when no folder is given.
    """

    name: ClassVar[str] = "kitti"

    def __init__(self, *, root: Path | str | None = None, **options):
        root = root or os.environ.get("KDBENCH_KITTI")
        if not root:
            raise DataError(
                "kitti: where the data stands is not known; give --data-root DIR or set"
                " KDBENCH_KITTI=DIR, DIR being the folder that holds training/ and ImageSets/"
            )
        super().__init__(root=root, **options)
