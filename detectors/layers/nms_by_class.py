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

    Only the best `before` of a class are decoded: a map has some hundred thousand places. Their
    suppression is the host's, which waits for the device once.
    """
    classes = scores.shape[1]
    top, index = scores.topk(min(before, len(scores)), dim=0)  # (k, classes)
    best, boxes = top.flatten(), decode(index.flatten())  # row i: of class i % classes
    seen = torch.cat([boxes, best.unsqueeze(1)], dim=1).cpu()  # one copy, so one wait
    found = []
    for rows in torch.arange(len(seen)).view(-1, classes).unbind(1):
        rows = rows[seen[rows, 7] >= least]
        found.append(rows[rotated_nms(seen[rows, :7], seen[rows, 7], overlap, after)])
    kept = torch.cat(found)
    order = torch.argsort(seen[kept, 7], descending=True, stable=True)[:after]
    kept = kept[order].to(boxes.device)
    return Detections(boxes[kept], best[kept], kept % classes)
