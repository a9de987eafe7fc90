"""The single-stage anchor head: classification, box regression, direction (SECOND)."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdbench.classes import Classes, described, names_of
from kdbench.dataset import Batch
from kdbench.detector import Detections
from kdbench.detectors.layers import anchors as A
from kdbench.detectors.layers.losses import balance, box_code_loss, sigmoid_focal
from kdbench.detectors.layers.nms_by_class import nms_of_candidates
from kdbench.ops.bev_iou import aligned_footprints, aligned_iou
from kdbench.taps import Taps

CLS_WEIGHT, BOX_WEIGHT, DIR_WEIGHT = 1.0, 2.0, 0.2  # published loss weights


class AnchorHead(nn.Module):
    """1x1 convolutions over the neck; class and box of `len(classes) * 2` anchors a cell."""

    def __init__(
        self, inputs: int, classes: Classes, point_range, height: int, width: int, form=A.OWN_FORM
    ):
        super().__init__()
        self.form = form
        self.classes = names_of(classes)
        self.kinds = [A.anchor_class(kind) for kind in described(classes)]
        self.per_cell = len(classes) * len(A.HEADINGS)
        self.sizes = {"cls": len(classes), "box": 7, "dir": 2}  # values an anchor
        self.channels = [self.per_cell * size for size in self.sizes.values()]
        # One convolution for all: the neck's map, the largest there is, is read once.
        self.outputs = nn.Conv2d(inputs, sum(self.channels), 1)
        cls, box, _ = self.channels
        nn.init.normal_(self.outputs.weight[cls : cls + box], std=0.001)
        with torch.no_grad():
            self.outputs.bias[:cls] = -math.log(99)  # a prior of 0.01, for the focal loss
        grid = A.make_anchors(classes, point_range, height, width, form)
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
        return A.decode(codes, self.anchors, self.form.largest)

    def codes(self, boxes: Tensor) -> Tensor:
        """The inverse of `decode`."""
        return A.encode(boxes, self.anchors)

    def card(self) -> dict[str, Any]:
        """What decodes the outputs, as plain values: the anchors of a cell (z, dx, dy, dz, yaw)."""
        return {"head": "anchors", "anchors": self.anchors[0, 0, :, 2:].tolist()}

    def assign(self, boxes: list[Tensor], labels: list[Tensor]) -> Tensor:
        """The box index of each anchor (B, H, W, A), BACKGROUND or IGNORED.

        Of each frame boxes (m, 7) and labels (m,). The host waits for the device once.
        """
        height, width = self.anchors.shape[:2]
        footprints = aligned_footprints(torch.cat(boxes))
        footprints = F.pad(footprints, (0, 0, 0, 1))  # the last, of no box, overlaps none
        found = []
        for i, (index, row) in enumerate(_of_classes(labels, len(self.classes))):
            iou = aligned_iou(self.footprints[i], footprints[row.flatten()])
            kind = self.kinds[i]
            place = A.match(iou.unflatten(1, row.shape), kind.matched, kind.unmatched).T  # (B, n)
            owner = torch.where(place >= 0, index.gather(1, place.clamp(min=0)), place)
            found.append(owner.view(len(boxes), height, width, len(A.HEADINGS)))
        return torch.stack(found, dim=3).flatten(3, 4)

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Weighted losses, each divided by the number of positive anchors of the batch."""
        owner = self.assign(batch.boxes, batch.labels)
        frame, *cell = on = torch.nonzero(owner >= 0, as_tuple=True)  # waits for the device
        count = max(1, len(frame))
        targets, labels = self._targets(batch, owner[on], frame)
        onehot = torch.zeros_like(outputs["cls"])
        onehot[(*on, labels)] = 1.0
        focal = sigmoid_focal(outputs["cls"], onehot)
        cls = focal.where((owner != A.IGNORED).unsqueeze(-1), 0.0).sum()
        codes = A.encode(targets, self.anchors[tuple(cell)])
        box = box_code_loss(outputs["box"][on], codes).sum()
        bins = A.heading_bin(targets[:, 6], self.form.first_bin)
        direction = F.cross_entropy(outputs["dir"][on], bins, reduction="sum")
        return {
            "cls": CLS_WEIGHT * cls / count,
            "box": BOX_WEIGHT * box / count,
            "dir": DIR_WEIGHT * direction / count,
        }

    def asked(self, taps: Taps, batch: Batch) -> tuple[Tensor, Tensor]:
        """Targets and weights of the class scores in `loss`, see `TapSpec.asked`."""
        owner = self.assign(batch.boxes, batch.labels)
        on = torch.nonzero(owner >= 0, as_tuple=True)
        _, labels = self._targets(batch, owner[on], on[0])
        onehot = torch.zeros_like(taps["head.cls"])
        onehot[(*on, labels)] = 1.0
        counts = (owner != A.IGNORED).unsqueeze(-1)
        return onehot, CLS_WEIGHT * balance(onehot) * counts / max(1, len(on[0]))

    def _targets(self, batch: Batch, owner: Tensor, frame: Tensor) -> tuple[Tensor, Tensor]:
        """Box (p, 7) and class (p,) of each positive anchor, given its box's index in its frame."""
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

        def decode(index):
            place = index // self.per_cell, index % self.per_cell
            return self.boxes(codes[place], dirs[place], index)

        return nms_of_candidates(decode, scores.reshape(-1, len(self.classes)), *limits)

    def boxes(self, codes: Tensor, dirs: Tensor, index: Tensor) -> Tensor:
        """Boxes (k, 7) of codes (k, 7) and direction logits (k, 2) at anchors of an index (k,).

        The index counts anchors by row, column and place in the cell.
        """
        boxes = A.decode(codes.float(), self.anchors.view(-1, 7)[index], self.form.largest)
        boxes[:, 6] = A.set_heading(boxes[:, 6], dirs.argmax(1), self.form.first_bin)
        return boxes


def _of_classes(labels: list[Tensor], classes: int) -> list[tuple[Tensor, Tensor]]:
    """Of each class its boxes in all frames: their indices (B, most) in the frame, in the batch.

    Frames with fewer are filled up with the index after the batch's last; there is a column at
    least. Waits for the device, to tell it everything at once.
    """
    counts = [len(x) for x in labels]
    first = [sum(counts[:i]) for i in range(len(counts) + 1)]
    known = [x.tolist() for x in torch.cat(labels).cpu().split(counts)]
    widths, index, row = [], [[] for _ in labels], [[] for _ in labels]
    for i in range(classes):
        mine = [[j for j, label in enumerate(frame) if label == i] for frame in known]
        widths.append(max(1, *map(len, mine)))
        for b, boxes in enumerate(mine):
            spare = widths[-1] - len(boxes)
            index[b] += boxes + [0] * spare
            row[b] += [first[b] + j for j in boxes] + [first[-1]] * spare
    index, row = torch.tensor([index, row], device=labels[0].device)
    return list(zip(index.split(widths, 1), row.split(widths, 1), strict=True))
