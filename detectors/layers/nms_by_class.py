"""From scored boxes to detections: non-maximum suppression of each class on its own."""

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
    found = []
    for i, of_class in enumerate(scores.unbind(1)):
        top, index = of_class.topk(min(before, len(scores)))
        index = index[top >= least]
        kept = index[rotated_nms(boxes[index], of_class[index], overlap, after)]
        found.append((boxes[kept], of_class[kept], torch.full_like(kept, i)))
    boxes, best, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = torch.argsort(best, descending=True, stable=True)[:after]
    return Detections(boxes[order], best[order], labels[order])
