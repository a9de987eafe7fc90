"""Non-maximum suppression of rotated boxes by their bird's-eye-view IoU."""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from kdbench.geometry.rotated_iou import BEV_COLUMNS, intersection_area
from kdbench.geometry.rotated_iou_torch import near_pairs, paired_bev_iou

# Boxes of a device that the host had better compare itself: one core takes about a millisecond
# for these where few overlap, less where many do, and the device's way is 130 kernels.
HOST_BOXES = 512


@njit(cache=True, nogil=True)
def _suppress(boxes, threshold, limit):
    """Greedy suppression of boxes (n, 5), best first: indices of the kept ones, best first."""
    alive = np.ones(len(boxes), dtype=np.bool_)
    area = boxes[:, 2] * boxes[:, 3]
    kept = []
    for i in range(len(boxes)):
        if len(kept) == limit:
            break
        if not alive[i]:
            continue
        kept.append(i)
        for j in range(i + 1, len(boxes)):
            if alive[j]:
                shared = intersection_area(boxes[i], boxes[j])
                if shared > 0 and shared > threshold * (area[i] + area[j] - shared):
                    alive[j] = False
    return np.array(kept, dtype=np.int64)


@njit(cache=True, nogil=True)
def _suppress_pairs(count, better, worse, limit):
    """As `_suppress`, from the pairs (p,) of boxes that overlap too much, ordered by `better`."""
    alive = np.ones(count, dtype=np.bool_)
    kept = []
    pair = 0
    for i in range(count):
        if len(kept) == limit:
            break
        if alive[i]:
            kept.append(i)
        while pair < len(better) and better[pair] == i:
            if alive[i]:
                alive[worse[pair]] = False
            pair += 1
    return np.array(kept, dtype=np.int64)


def _suppress_on_device(boxes: Tensor, threshold: float, limit: int) -> np.ndarray:
    """As `_suppress`; the device finds the overlapping pairs, the host walks through them."""
    pairs = near_pairs(boxes, boxes)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    pairs = pairs[paired_bev_iou(boxes, boxes, pairs) > threshold].cpu().numpy()
    return _suppress_pairs(len(boxes), pairs[:, 0].copy(), pairs[:, 1].copy(), limit)


def rotated_nms(boxes: Tensor, scores: Tensor, threshold: float, limit: int) -> Tensor:
    """Indices (k,) int64 of the boxes to keep, best score first, at most `limit`.

    boxes (n, 7) are in the LiDAR frame (`geometry/boxes.py`), scores (n,); both on one device,
    where the result is too. A box goes when its bird's-eye-view IoU with a kept, better box is
    above `threshold`. Of equal scores the lowest index is the better. Equal inputs give equal
    results. Up to HOST_BOXES, and all of the CPU, are worked on by one core; of more the device
    computes the IoUs, and the host waits for it a fixed number of times.
    """
    order = scores.detach().sort(descending=True, stable=True).indices
    sorted_boxes = boxes.detach()[order][:, BEV_COLUMNS].double().contiguous()
    if boxes.device.type == "cpu" or len(boxes) <= HOST_BOXES:
        kept = _suppress(sorted_boxes.cpu().numpy(), float(threshold), int(limit))
    else:
        kept = _suppress_on_device(sorted_boxes, float(threshold), int(limit))
    return order[torch.from_numpy(kept).to(order.device)]
