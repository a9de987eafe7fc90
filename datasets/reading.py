"""What a person can say of how a tree's files are to be read."""

from dataclasses import dataclass
from typing import Any

from kdbench.errors import UsageError

MOST_COLUMNS = 64


@dataclass(frozen=True)
class Reading:
    """How the files of a tree differ from KITTI's; at the defaults they do not.

    columns: float32 values a point has in a cloud file. The first four are x, y, z, reflectance;
        of three, reflectance is 0.
    crop: drop the points that the camera does not see. Without, the calibration needs no camera:
        where there is none, one like KITTI's stands in, for an object's difficulty and the scores
        depend on its height in an image.
    project_boxes: objects without a 2D box get the one around their 3D box in the image.
    max_reflectance: the value in the files that means 1.
    """

    columns: int = 4
    crop: bool = True
    project_boxes: bool = False
    max_reflectance: float = 1.0

    def __post_init__(self):
        _check("columns", self.columns, 3 <= self.columns <= MOST_COLUMNS, f"3 to {MOST_COLUMNS}")
        _check("crop", self.crop, isinstance(self.crop, bool), "true or false")
        yes_no = isinstance(self.project_boxes, bool)
        _check("project_boxes", self.project_boxes, yes_no, "true or false")
        _check("max_reflectance", self.max_reflectance, self.max_reflectance > 0, "above 0")


def _check(option: str, value: Any, good: bool, wanted: str) -> None:
    if not good:
        raise UsageError(f"{option}: {value!r} is not {wanted}")
