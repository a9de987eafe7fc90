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
    best = [of_class.topk(min(before, len(scores))) for of_class in scores.unbind(1)]
    return _suppress(boxes.__getitem__, best, least, overlap, after)


@torch.no_grad()
def nms_of_logits(
    decode: Callable[[Tensor], Tensor],
    logits: Tensor,
    least: float,
    overlap: float,
    before: int,
    after: int,
) -> Detections:
    """As `nms_by_class`, from logits (n, classes); `decode` makes boxes (k, 7) of indices (k,).

    Only what enters NMS gets a score and a box: a map has some hundred thousand places.
    """
    best = [of_class.topk(min(before, len(logits))) for of_class in logits.unbind(1)]
    best = [(top.sigmoid(), index) for top, index in best]
    return _suppress(decode, best, least, overlap, after)


def _suppress(boxes_of, best, least, overlap, after) -> Detections:
    """NMS of the pairs of scores (k,) and indices (k,) of each class."""
    found = []
    for i, (scores, index) in enumerate(best):
        good = scores >= least
        scores, boxes = scores[good], boxes_of(index[good])
        kept = rotated_nms(boxes, scores, overlap, after)
        found.append((boxes[kept], scores[kept], torch.full_like(kept, i)))
    boxes, scores, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = torch.argsort(scores, descending=True, stable=True)[:after]
    return Detections(boxes[order], scores[order], labels[order])
