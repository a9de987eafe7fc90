"""Arrays of PointPillars and SECOND: of the head too, and its boxes."""

import numpy as np
import torch
from torch import Tensor

from kdbench.detectors.layers.anchor_head import AnchorHead
from kdbench.imports.bev_layers import file_anchors
from kdbench.imports.compare import View
from kdbench.imports.detections import detection_arrays
from kdbench.imports.map_arrays import batch_of, map_arrays
from kdbench.imports.network import Imported
from kdbench.taps import Taps


def anchor_arrays(
    imported: Imported, points: np.ndarray, arrays: dict[str, np.ndarray]
) -> dict[str, View]:
    """All arrays of a network with anchors for points (n, 4); `top_*` at the places of a case."""
    found, taps = map_arrays(imported.network, batch_of(points))
    order = imported.settings.order
    raw = {name: file_anchors(taps[f"head.{name}"][0], order) for name in ("cls", "box", "dir")}
    back = torch.tensor(order).argsort()
    raw["cls"] = raw["cls"][..., back]
    boxes, anchors = _boxes(imported.network.head, taps)
    if imported.file.format == "mmdet3d":  # the z of a box is that of its bottom
        boxes, anchors = _on_bottom(boxes), _on_bottom(anchors)
    boxes, anchors = file_anchors(boxes, order), file_anchors(anchors, order)
    found |= {name: _map(x.flatten(2), imported.file.format) for name, x in raw.items()}
    found["decoded_boxes"] = View(boxes.numpy(), rows=0)
    found["decoded_anchors"] = View(anchors.numpy(), rows=0)
    if "top_index" in arrays:
        index = torch.from_numpy(arrays["top_index"]).long()
        found |= _top({**raw, "boxes": boxes}, index)
    if "boxes" in arrays:
        scores = raw["cls"].sigmoid().flatten(0, 2)
        found |= detection_arrays(boxes.flatten(0, 2), scores, imported.file.format, arrays)
    return found


def _map(values: Tensor, format: str) -> View:
    """Outputs (H, W, C) of a head in a project's layout."""
    if format == "openpcdet":
        return View(values.numpy(), rows=0)
    return View(values.permute(2, 0, 1).numpy(), rows=1)


def _boxes(head: AnchorHead, taps: Taps) -> tuple[Tensor, Tensor]:
    """Boxes with their headings and anchors, each (H, W, A, 7)."""
    codes, dirs = (taps[f"head.{name}"][0].flatten(0, 2) for name in ("box", "dir"))
    boxes = head.boxes(codes, dirs, torch.arange(len(codes)))
    return boxes.view(head.anchors.shape), head.anchors


def _on_bottom(boxes: Tensor) -> Tensor:
    height = boxes[..., 5:6] / 2
    return torch.cat([boxes[..., :2], boxes[..., 2:3] - height, boxes[..., 3:]], dim=-1)


def _top(maps: dict[str, Tensor], index: Tensor) -> dict[str, View]:
    """The anchors of an index (k,) that counts them by row, column and place in the cell."""
    rows = {name: x.flatten(0, 2)[index] for name, x in maps.items()}
    scores = rows["cls"].sigmoid()
    best = scores.max(dim=1)
    parts = {
        "score": best.values,
        "label": best.indices,
        "scores": scores,
        "boxes": rows["boxes"],
        "dir": rows["dir"].argmax(1),
    }
    return {f"top_{name}": View(x.numpy()) for name, x in parts.items()}
