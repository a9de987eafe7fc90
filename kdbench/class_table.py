"""The option `classes` of a data set: a table of classes that are not KITTI's three.

    Forklift: {labels: [forklift_empty, forklift_loaded], size: [2.4, 1.2, 2.1], bottom: -1.7}
    Pallet: {overlap: 0.3, neighbour: Crate}
    Worker:

All settings of a class may be left out (`ObjectClass`); size and bottom are then the means over
the training labels. KITTI's own classes keep its overlaps.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kdbench.classes import KITTI, ObjectClass, names_of
from kdbench.errors import DataError, UsageError
from kdbench.geometry.boxes import boxes_camera_to_lidar
from kdbench.geometry.calibration import Calibration
from kdbench.geometry.kitti_labels import KittiObjects, letters

MOST = 10  # classes
SETTINGS = ("labels", "size", "bottom", "overlap", "neighbour")
# Records and tables name scores by class, and others beside them: `bev_map`, `bev_worst_class`.
TAKEN = (
    "map", "mean", "gain", "rank", "recovered", "significant", "worth", "net", "worst", "dontcare",
)  # fmt: skip
OVERLAPS = {kind.key: kind.overlap for kind in KITTI}


def parse_table(table: Any, where: str = "dataset.classes") -> tuple[ObjectClass, ...]:
    """The classes of a table, in alphabetical order: that of a mapping is no part of a spec.

    Raises UsageError that says `where` the table is from, and what is wrong in it.
    """
    if not isinstance(table, dict) or not table:
        raise UsageError(f"{where}: expected a table of class names and settings, not {table!r}")
    if len(table) > MOST:
        raise UsageError(f"{where}: {len(table)} classes; there may be up to {MOST}")
    classes = [_parsed(name, table[name], f"{where}: {name}") for name in table]
    _check_labels(classes, where)
    return tuple(sorted(classes, key=lambda kind: kind.name))


def table_of(classes: Iterable[ObjectClass]) -> dict[str, dict[str, Any]]:
    """The inverse of `parse_table`, with all settings, as plain values."""
    return {
        kind.name: {
            "labels": list(kind.labels),
            "size": kind.size and list(kind.size),
            "bottom": kind.bottom,
            "overlap": kind.overlap,
            "neighbour": kind.neighbour,
        }
        for kind in classes
    }


def with_means(
    classes: Iterable[ObjectClass], frames: Iterable[tuple[KittiObjects, Calibration]]
) -> tuple[ObjectClass, ...]:
    """The classes, their open sizes and bottoms filled with means over labelled frames, to a cm.

    Raises DataError for a class of which there is no object.
    """
    names, boxes = [np.zeros(0, str)], [np.zeros((0, 7))]
    for objects, calibration in frames:
        names.append(objects.names)
        boxes.append(
            boxes_camera_to_lidar(objects.hwl, objects.location, objects.rotation_y, calibration)
        )
    names, boxes = np.concatenate(names), np.concatenate(boxes)
    return tuple(
        kind if kind.is_sized else _with_mean(kind, boxes[names == kind.name]) for kind in classes
    )


def _with_mean(kind: ObjectClass, boxes: np.ndarray) -> ObjectClass:
    if not len(boxes):
        raise DataError(
            f"dataset.classes: {kind.name}: no training label of it, to take its mean size from: "
            "give its size and bottom, or leave it out"
        )
    size = tuple(round(float(mean), 2) for mean in boxes[:, 3:6].mean(axis=0))
    bottom = round(float((boxes[:, 2] - boxes[:, 5] / 2).mean()), 2)
    return replace(
        kind,
        size=size if kind.size is None else kind.size,
        bottom=bottom if kind.bottom is None else kind.bottom,
    )


def _parsed(name: Any, settings: Any, where: str) -> ObjectClass:
    _check_name(name, where)
    settings = {} if settings is None else settings
    if not isinstance(settings, dict):
        raise UsageError(f"{where}: expected settings such as `overlap: 0.5`, not {settings!r}")
    if strange := [key for key in settings if key not in SETTINGS]:
        known = ", ".join(SETTINGS)
        raise UsageError(f"{where}: no setting {strange[0]!r} of a class; there are: {known}")
    usual = OVERLAPS.get(name.lower(), ObjectClass(name).overlap)
    overlap, bottom = settings.get("overlap", usual), settings.get("bottom")
    if not _is_number(overlap) or not 0 < overlap < 1:
        raise UsageError(f"{where}: overlap must be a number between 0 and 1, not {overlap!r}")
    if bottom is not None and not _is_number(bottom):
        raise UsageError(f"{where}: bottom must be a number in metres, not {bottom!r}")
    return ObjectClass(
        name,
        size=_size(settings.get("size"), where),
        bottom=None if bottom is None else float(bottom),
        overlap=float(overlap),
        neighbour=_neighbour(settings.get("neighbour"), where),
        labels=_labels(settings.get("labels"), name, where),
    )


def _check_name(name: Any, where: str) -> None:
    """A name is one word in a result file, and part of the names of columns in tables."""
    if not isinstance(name, str) or not re.fullmatch(r"[^\W\d_][\w-]*", name):
        raise UsageError(
            f"{where}: a class is named by letters, digits, _ and -, a letter first, not {name!r}"
        )
    if re.split("[_-]", name.lower())[0] in TAKEN:
        raise UsageError(f"{where}: the name has a meaning of its own in tables, take another")


def _size(size: Any, where: str) -> tuple[float, float, float] | None:
    if size is None:
        return None
    if isinstance(size, (list, tuple)) and len(size) == 3 and all(map(_is_number, size)):
        length, width, height = map(float, size)
        if min(length, width, height) > 0:
            return length, width, height
    raise UsageError(f"{where}: size must be length, width, height above 0 in metres, not {size!r}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _neighbour(name: Any, where: str) -> str | None:
    if name is not None and not _is_label(name):
        raise UsageError(f"{where}: neighbour must be the name of a class, not {name!r}")
    return name


def _labels(labels: Any, name: str, where: str) -> tuple[str, ...]:
    """The labels beside the class's own name, in alphabetical order."""
    labels = [] if labels is None else labels
    if not isinstance(labels, (list, tuple)) or not all(map(_is_label, labels)):
        raise UsageError(f"{where}: labels must be a list of names in label files, not {labels!r}")
    return tuple(sorted({label for label in labels if letters(label) != letters(name)}))


def _is_label(name: Any) -> bool:
    one_word = isinstance(name, str) and len(name.split()) == 1
    return one_word and letters(name) not in ("", "dontcare")


def _check_labels(classes: Sequence[ObjectClass], where: str) -> None:
    """Raises UsageError for a label of two classes, and a neighbour that cannot be met."""
    owners: dict[str, str] = {}
    for kind in classes:
        for label in (kind.name, *kind.labels):
            owner = owners.setdefault(letters(label), kind.name)
            if owner != kind.name:
                raise UsageError(f"{where}: {label!r} is a label of both {owner} and {kind.name}")
    for kind in classes:
        owner = owners.get(letters(kind.neighbour or ""))
        if owner == kind.name:
            raise UsageError(f"{where}: {owner}: neighbour must be another class, not {owner} too")
        if owner is not None and kind.neighbour not in names_of(classes):
            raise UsageError(
                f"{where}: {kind.name}: neighbour {kind.neighbour!r} is no class but a label of "
                f"one: say {owner!r}"
            )
