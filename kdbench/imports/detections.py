"""A project's detections looked up among all boxes of a network, before any suppression.

So the comparison is of the network: how a project thins its boxes out is not.
"""

import numpy as np
import torch
from torch import Tensor

from kdbench.errors import DataError
from kdbench.geometry.boxes import wrap_angle
from kdbench.imports.compare import View

FIRST_LABEL = {"openpcdet": 1, "mmdet3d": 0}  # the number of a project's first class


def detection_arrays(
    boxes: Tensor, scores: Tensor, format: str, arrays: dict[str, np.ndarray]
) -> dict[str, View]:
    """Of boxes (n, 7) with scores (n, classes), as a project gives them, those of a case.

    Each box of the case stands beside the one that is nearest to it in its worst column. Raises
    DataError for labels that the classes do not have.
    """
    labels = torch.from_numpy(arrays["labels"].astype(np.int64)) - FIRST_LABEL[format]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < scores.shape[1]:
        raise DataError(
            f"labels of detections must be from {FIRST_LABEL[format]} on, one for each of the "
            f"{scores.shape[1]} classes, as {format} gives them"
        )
    expected = torch.from_numpy(arrays["boxes"]).float()
    index = torch.tensor([_nearest(box, boxes) for box in expected], dtype=torch.long)
    return {
        "boxes": View(boxes[index].numpy()),
        "scores": View(scores[index, labels].numpy()),
        "labels": View(arrays["labels"]),
    }


def _nearest(box: Tensor, boxes: Tensor) -> int:
    error = boxes - box
    error[:, 6] = wrap_angle(error[:, 6])
    return int(error.abs().amax(1).argmin())
