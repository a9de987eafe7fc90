"""Whether the labels of a split give anything to train or to judge on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kdbench.datasets.difficulty import difficulty
from kdbench.datasets.image_boxes import without_image_box
from kdbench.geometry.kitti_labels import NAMES, KittiObjects

SHOWN = 8  # class names in a message


def label_problems(
    folder: Path | str, frames: str, labels: Mapping[str, KittiObjects], classes: Sequence[str]
) -> list[str]:
    """Why labels, by frame id, are of no use; empty when they are of some.

    folder: of the label files. frames: which of them, in words, such as `split val`.
    """
    where = f"{folder}, {frames}"
    names = Counter(str(name) for objects in labels.values() for name in objects.names)
    if not names:
        return [f"{where}: no object in {len(labels)} label files: nothing to train or judge on"]
    if not any(name in classes for name in names):
        found = f"no {_either(classes)} among the classes {counted(names)}"
        return [f"{where}: {found}: {_cure(names, folder)}"]
    targets = [objects.select(np.isin(objects.names, classes)) for objects in labels.values()]
    if any((difficulty(objects) >= 0).any() for objects in targets):
        return []
    if all(without_image_box(objects).all() for objects in targets):
        return [
            f"{where}: no object has a 2D box, and so none a difficulty by which it is judged and"
            " sampled: projecting the 3D boxes helps, as --set dataset.project_boxes=true does"
        ]
    return [
        f"{where}: no object is easy, moderate or hard, so that none is judged or sampled: all are"
        " lower than 25 pixels in the image, occluded above 2 or truncated above 0.5"
    ]


def _either(classes: Sequence[str]) -> str:
    return f"{', '.join(classes[:-1])} or {classes[-1]}" if len(classes) > 1 else classes[0]


def counted(names: Counter) -> str:
    """`Sedan (4), Human (4)`, the most frequent first."""
    shown = [f"{name} ({count})" for name, count in names.most_common(SHOWN)]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _cure(names: Counter, folder: Path | str) -> str:
    """How to rename the most frequent class that KITTI does not know, or to make it a class."""
    foreign = [name for name, _ in names.most_common() if name not in NAMES]
    if not foreign:
        return "nothing to train or judge on"
    table = f"dataset.classes={{{foreign[0]}: {{}}}}"
    return (
        f"rename them, as by `sed -i 's/^{foreign[0]} /Car /' {folder}/*.txt` for a car, or make "
        f"them classes of their own, as by --set '{table}' (docs/data.md)"
    )
