"""What a data set's classes are: how objects of them are called, how large they are, when found.

Where a class is asked for by its name alone, it is one of KITTI's. Others come from the option
`classes` of a data set (`class_table.py`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kdbench.errors import UsageError
from kdbench.geometry.kitti_labels import KittiObjects, letters


@dataclass(frozen=True)
class ObjectClass:
    """One class. Its size and bottom may be open, until training labels have told them."""

    name: str
    size: tuple[float, float, float] | None = None  # length, width, height in metres
    bottom: float | None = None  # z of the bottom face in the LiDAR frame, metres
    overlap: float = 0.5  # a match has more, in every metric
    neighbour: str | None = None  # a like class: finding one of it is no mistake
    labels: tuple[str, ...] = ()  # further names in label files that count as it

    @property
    def key(self) -> str:
        """What it is called in records and tables: KITTI compares names in lower case."""
        return self.name.lower()

    @property
    def is_sized(self) -> bool:
        """Whether a detector can be built for it."""
        return self.size is not None and self.bottom is not None


Classes = Sequence[ObjectClass | str]  # a name stands for KITTI's class

# Sizes and bottoms are those of the published anchors (PointPillars, section 3.2, and the code of
# SECOND), overlaps and neighbours those of KITTI's development kit.
KITTI = (
    ObjectClass("Car", (3.9, 1.6, 1.56), -1.78, 0.7, "Van"),
    ObjectClass("Pedestrian", (0.8, 0.6, 1.73), -0.6, 0.5, "Person_sitting"),
    ObjectClass("Cyclist", (1.76, 0.6, 1.73), -0.6, 0.5),
)
_BY_KEY = {kind.key: kind for kind in KITTI}


def described(classes: Classes) -> tuple[ObjectClass, ...]:
    """The classes, KITTI's in place of their names, in any case.

    Raises UsageError for a name that is none of them.
    """
    return tuple(kitti_class(kind) if isinstance(kind, str) else kind for kind in classes)


def kitti_class(name: str) -> ObjectClass:
    """KITTI's class of a name. Raises UsageError where there is none."""
    if name.lower() not in _BY_KEY:
        raise UsageError(f"no KITTI class {name!r}; there are: {', '.join(_BY_KEY)}")
    return _BY_KEY[name.lower()]


def names_of(classes: Classes) -> tuple[str, ...]:
    """The names of classes, in their order."""
    return tuple(kind if isinstance(kind, str) else kind.name for kind in classes)


def unit_sized(classes: Iterable[ObjectClass]) -> tuple[ObjectClass, ...]:
    """The classes, of a metre where no size is known: for networks of which only taps matter."""
    return tuple(c if c.is_sized else replace(c, size=(1.0, 1.0, 1.0), bottom=0.0) for c in classes)


def renamed(objects: KittiObjects, classes: Classes) -> KittiObjects:
    """Objects under the names of the classes that they count as; others as they are.

    Names in label files are taken as KITTI's are: without regard to case and signs.
    """
    kinds = described(classes)
    known = {letters(kind.neighbour): kind.neighbour for kind in kinds if kind.neighbour}
    for kind in kinds:  # one may be another's neighbour
        known |= {letters(label): kind.name for label in (kind.name, *kind.labels)}
    unique, inverse = np.unique(objects.names, return_inverse=True)
    names = [known.get(letters(str(name)), str(name)) for name in unique]
    return replace(objects, names=np.array(names, dtype=str)[inverse])
