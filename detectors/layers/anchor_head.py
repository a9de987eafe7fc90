"""The single-stage anchor head: classification, box regression, direction (SECOND)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdbench.dataset import Batch
from kdbench.detector import Detections
from kdbench.detectors.layers import anchors as A
from kdbench.detectors.layers.losses import box_code_loss, sigmoid_focal
from kdbench.detectors.layers.nms_by_class import nms_of_candidates
from kdbench.ops.bev_iou import aligned_footprints

CLS_WEIGHT, BOX_WEIGHT, DIR_WEIGHT = 1.0, 2.0, 0.2  # published loss weights


class AnchorHead(nn.Module):
    """1x1 convolutions over the neck; class and box of `len(classes) * 2` anchors a cell."""

    def __init__(self, inputs: int, classes, point_range, height: int, width: int):
        super().__init__()
        self.classes = tuple(classes)
        self.per_cell = len(classes) * len(A.HEADINGS)
        self.sizes = {"cls": len(classes), "box": 7, "dir": 2}  # values an anchor
        self.channels = [self.per_cell * size for size in self.sizes.values()]
        # One convolution for all: the neck's map, the largest there is, is read once.
        self.outputs = nn.Conv2d(inputs, sum(self.channels), 1)
        cls, box, _ = self.channels
        nn.init.normal_(self.outputs.weight[cls : cls + box], std=0.001)
        with torch.no_grad():
            self.outputs.bias[:cls] = -math.log(99)  # a prior of 0.01, for the focal loss
        grid = A.make_anchors(classes, point_range, height, width)
        self.register_buffer("anchors", grid, persistent=False)  # (H, W, A, 7)
        by_class = grid.unflatten(2, (len(classes), len(A.HEADINGS))).permute(2, 0, 1, 3, 4)
        footprints = aligned_footprints(by_class.flatten(1, 3))
        self.register_buffer("footprints", footprints, persistent=False)  # (classes, H*W*2, 4)

    def forward(self, neck: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) to `cls` (B, H, W, A, classes), `box` (..., 7) and `dir` (..., 2)."""
        parts = self.outputs(neck).permute(0, 2, 3, 1).split(self.channels, dim=3)
        return {
            name: part.unflatten(3, (self.per_cell, size))
            for (name, size), part in zip(self.sizes.items(), parts, strict=True)
        }

    def decode(self, codes: Tensor) -> Tensor:
        """Box codes (..., H, W, A, 7) to boxes; headings without the direction classifier."""
        return A.decode(codes, self.anchors)

    def assign(self, boxes: Tensor, labels: Tensor) -> Tensor:
        """The box index of each anchor of one frame (H, W, A), BACKGROUND or IGNORED."""
        result = torch.empty(
            self.anchors.shape[:3], dtype=torch.long, device=self.anchors.device
        ).unflatten(2, (len(self.classes), len(A.HEADINGS)))
        for i, name in enumerate(self.classes):
            mine = torch.nonzero(labels == i).squeeze(1)
            found = A.match(self.footprints[i], boxes[mine], A.KITTI_ANCHORS[name])
            hit = found >= 0
            found[hit] = mine[found[hit]]
            result[:, :, i] = found.view(result[:, :, i].shape)
        return result.flatten(2, 3)

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Weighted losses, each divided by the number of positive anchors of the batch."""
        pairs = zip(batch.boxes, batch.labels, strict=True)
        owner = torch.stack([self.assign(boxes, labels) for boxes, labels in pairs])
        positive = owner >= 0
        count = positive.sum().clamp(min=1)
        frame, *cell = torch.nonzero(positive, as_tuple=True)
        targets, labels = self._targets(batch, owner[positive], frame, cell)
        onehot = torch.zeros_like(outputs["cls"])
        onehot[(frame, *cell, labels)] = 1.0
        cls = sigmoid_focal(outputs["cls"], onehot)[owner != A.IGNORED].sum()
        codes = A.encode(targets, self.anchors[tuple(cell)])
        box = box_code_loss(outputs["box"][positive], codes).sum()
        bins = A.heading_bin(targets[:, 6])
        direction = F.cross_entropy(outputs["dir"][positive], bins, reduction="sum")
        return {
            "cls": CLS_WEIGHT * cls / count,
            "box": BOX_WEIGHT * box / count,
            "dir": DIR_WEIGHT * direction / count,
        }

    def _targets(self, batch: Batch, owner: Tensor, frame: Tensor, cell) -> tuple[Tensor, Tensor]:
        """Box (p, 7) and class (p,) of each positive anchor."""
        sizes = torch.tensor([0] + [len(b) for b in batch.boxes], device=owner.device)
        index = owner + sizes.cumsum(0)[frame]
        return torch.cat(batch.boxes)[index], torch.cat(batch.labels)[index]

    @torch.no_grad()
    def predict(
        self, outputs: dict[str, Tensor], score: float, nms: float, before: int, after: int
    ) -> list[Detections]:
        """Detections of each frame: NMS of each class on its own, as published.

        `score` is the least score, `nms` the IoU above which the lesser box goes, `before` and
        `after` how many boxes enter NMS a class and leave a frame.
        """
        scores = outputs["cls"].float().sigmoid()
        frames = zip(scores, outputs["box"], outputs["dir"], strict=True)
        return [self._predict_frame(*frame, score, nms, before, after) for frame in frames]

    def _predict_frame(self, scores, codes, dirs, *limits) -> Detections:
        codes, dirs = codes.flatten(0, 1), dirs.flatten(0, 1)  # (cells, A, ...): no copies
        anchors = self.anchors.view(-1, 7)

        def decode(index):
            place = index // self.per_cell, index % self.per_cell
            boxes = A.decode(codes[place].float(), anchors[index])
            boxes[:, 6] = A.set_heading(boxes[:, 6], dirs[place].argmax(1))
            return boxes

        return nms_of_candidates(decode, scores.reshape(-1, len(self.classes)), *limits)
