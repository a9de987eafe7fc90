"""From scored boxes to detections: non-maximum suppression of each class on its own."""

from collections.abc import Callable

import torch
from torch import Tensor

from kdbench.detector import Detections
from kdbench.geometry.nms import rotated_nms


@torch.no_grad()
def nms_by_class(
    boxes: Tensor, scores: Tensor, least: float, overlap: float, before: int, after: int
) -> Detections:
    """Detections of one frame from boxes (n, 7) and their scores (n, classes).

    `least` is the least score, `overlap` the BEV IoU above which the lesser box goes, `before`
    and `after` how many boxes enter NMS a class and leave the frame.
    """
    return nms_of_candidates(boxes.__getitem__, scores, least, overlap, before, after)


@torch.no_grad()
def nms_of_candidates(
    decode: Callable[[Tensor], Tensor],
    scores: Tensor,
    least: float,
    overlap: float,
    before: int,
    after: int,
) -> Detections:
    """As `nms_by_class`, with `decode` to make the boxes (k, 7) of indices (k,).

    Only what enters NMS is decoded: a map has some hundred thousand places.
    """
    found = []
    for i, of_class in enumerate(scores.unbind(1)):
        top, index = of_class.topk(min(before, len(scores)))
        good = (top >= least).nonzero().squeeze(1)  # the only wait for the device but for NMS
        top, boxes = top[good], decode(index[good])
        kept = rotated_nms(boxes, top, overlap, after)
        found.append((boxes[kept], top[kept], torch.full_like(kept, i)))
    boxes, best, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = torch.argsort(best, descending=True, stable=True)[:after]
    return Detections(boxes[order], best[order], labels[order])
