"""PointRCNN's first stage: foreground points, and a box from each of them (section 3.1, 3.2)."""

import math

import torch
from torch import Tensor, nn

from kdbench.classes import Classes, described
from kdbench.dataset import Batch
from kdbench.detectors.layers.anchors import BACKGROUND, IGNORED, anchor_class
from kdbench.detectors.layers.losses import balance, sigmoid_focal
from kdbench.detectors.layers.pointnet2 import SharedMlp
from kdbench.ops.roi_points import boxes_of_points, enlarge

HIDDEN = (256, 256)  # channels of both branches
BORDER = 0.2  # metres around a box in which background points do not count


def mean_sizes(classes: Classes) -> Tensor:
    """The mean length, width and height (classes, 3) in metres.

    Raises UsageError for a class that is not known.
    """
    return torch.tensor([anchor_class(kind).size for kind in described(classes)])


def branch(inputs: int, widths: list[int], outputs: int, momentum: float) -> nn.Sequential:
    """A shared MLP and a linear layer to (..., outputs)."""
    return nn.Sequential(SharedMlp([inputs, *widths], momentum), nn.Linear(widths[-1], outputs))


def expect_background(branch: nn.Sequential) -> None:
    """Starts a branch of logits at a score of 0.01, for the focal loss."""
    nn.init.constant_(branch[-1].bias, -math.log(99))


class PointHead(nn.Module):
    """Class scores and a coded box for every point. `coder` is a `BinCoder` or its like."""

    def __init__(self, inputs: int, widths: list[int], classes: Classes, coder, momentum: float):
        super().__init__()
        self.coder = coder
        self.cls = branch(inputs, widths, len(classes), momentum)
        self.box = branch(inputs, widths, coder.channels, momentum)
        expect_background(self.cls)
        nn.init.normal_(self.box[-1].weight, std=0.001)
        self.register_buffer("sizes", mean_sizes(classes), persistent=False)  # (classes, 3)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (B, N, C) to logits (B, N, classes) and box codes (B, N, channels)."""
        return self.cls(rows), self.box(rows)

    @torch.no_grad()
    def boxes(self, cls: Tensor, codes: Tensor, xyz: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (B, N, 7), their scores (B, N) and classes (B, N): one a point (B, N, 3)."""
        scores, labels = cls.float().sigmoid().max(dim=2)
        sizes = self.sizes[labels.flatten()]
        local = self.coder.decode(codes.float().flatten(0, 1), sizes).view(*labels.shape, 7)
        return torch.cat([local[..., :3] + xyz, local[..., 3:]], dim=2), scores, labels

    def loss(self, cls, codes, xyz, filled, batch: Batch) -> dict[str, Tensor]:
        """Focal loss over points and the coder's loss over foreground points, by their number.

        Points of frames that are not `filled` (B,) do not count.
        """
        owner = owners(xyz, filled, batch)
        positive = owner >= 0
        count = positive.sum().clamp(min=1)
        boxes, labels = targets(owner, batch)
        onehot = torch.zeros_like(cls)
        onehot[(*positive.nonzero(as_tuple=True), labels)] = 1.0
        focal = sigmoid_focal(cls, onehot)[owner != IGNORED].sum()
        local = torch.cat([boxes[:, :3] - xyz[positive], boxes[:, 3:]], dim=1)
        box = self.coder.loss(codes[positive], local, self.sizes[labels]).sum()
        return {"point_cls": focal / count, "point_box": box / count}

    def asked(self, cls, xyz, filled, batch: Batch) -> tuple[Tensor, Tensor]:
        """Targets and weights (B, N, classes) of the class scores in `loss`."""
        owner = owners(xyz, filled, batch)
        positive = owner >= 0
        onehot = torch.zeros_like(cls)
        onehot[(*positive.nonzero(as_tuple=True), targets(owner, batch)[1])] = 1.0
        counts = (owner != IGNORED).unsqueeze(-1)
        return onehot, balance(onehot) * counts / positive.sum().clamp(min=1)


def owners(xyz: Tensor, filled: Tensor, batch: Batch) -> Tensor:
    """`assign` of each frame's points (B, N, 3): (B, N); frames that are not filled are IGNORED."""
    pairs = zip(xyz, batch.boxes, strict=True)
    owner = torch.stack([assign(points, boxes) for points, boxes in pairs])
    owner[~filled] = IGNORED
    return owner


def assign(xyz: Tensor, boxes: Tensor) -> Tensor:
    """The box (m, 7) that each point (N, 3) of a frame is in, BACKGROUND or IGNORED: (N,)."""
    owner = boxes_of_points(xyz, boxes)
    near = boxes_of_points(xyz, enlarge(boxes, BORDER)) >= 0
    return torch.where(owner >= 0, owner, torch.where(near, IGNORED, BACKGROUND))


def targets(owner: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Box (p, 7) and class (p,) of each point with an owner (B, N), in their order."""
    first = torch.tensor([0] + [len(b) for b in batch.boxes], device=owner.device).cumsum(0)[:-1]
    index = (owner + first.unsqueeze(1))[owner >= 0]
    return torch.cat(batch.boxes)[index], torch.cat(batch.labels)[index]
