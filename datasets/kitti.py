"""KITTI 3D object detection (Geiger, Lenz and Urtasun, 2012), from a folder the user has.

Licensed CC BY-NC-SA 3.0; to be had from https://www.cvlibs.net/datasets/kitti.
"""

import os
from pathlib import Path
from typing import ClassVar

from kdbench.datasets.kitti_tree import KittiTree
from kdbench.errors import DataError


class Kitti(KittiTree):
    """KITTI under the option `root`, or else under the environment variable KDBENCH_KITTI."""

    name: ClassVar[str] = "kitti"

    def locate(self, root: Path | str | None) -> Path | str:
        """The folder of the data. Raises DataError when none is given."""
        root = root or os.environ.get("KDBENCH_KITTI")
        if not root:
            raise DataError(
                "kitti: give --data-root DIR or set KDBENCH_KITTI=DIR, DIR being the folder that"
                " holds training/ and ImageSets/"
            )
        return root
