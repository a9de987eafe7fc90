"""A pillar detector as one graph of plain tensors, for runtimes other than PyTorch."""

import torch
from torch import Tensor

from kdbench.detector import Graph
from kdbench.detectors.layers.bev_backbone import BevBackbone
from kdbench.detectors.layers.pillar_encoder import PillarEncoder
from kdbench.detectors.layers.pillar_map import PillarInputs
from kdbench.ops.voxelise import Grid

FEATURES = (
    "x", "y", "z", "reflectance", "x - pillar's mean", "y - pillar's mean", "z - pillar's mean",
    "x - pillar's centre", "y - pillar's centre",
)  # fmt: skip
LIMITS = ("score_threshold", "nms_threshold", "nms_before", "nms_after")


class PillarGraph(Graph):
    """The decorated points of a frame to the outputs of the head.

    `points` (n, 9) are the features of `pillar_encoder.decorate`, in any order, and `cell` (n,)
    int64 says in which pillar each lies: y cell * width + x cell. Outputs are (1, H, W, ...).

    The encoder's batch norm must have been folded into its layer (`ops/fold.py`), and the outputs
    are those of the detector but for rounding.
    """

    def __init__(
        self,
        encoder: PillarEncoder,
        grid: Grid,
        most: int,
        backbone: BevBackbone,
        neck,
        head,
        limits,
    ):
        super().__init__()
        self.encoder, self.backbone, self.neck, self.head = encoder, backbone, neck, head
        self.shape = (grid.height, grid.width)
        card = head.card()
        self.outputs = ("cls", "box", "dir") if card["head"] == "anchors" else ("cls", "box")
        self.card = {
            "classes": list(head.classes),
            "point_range": list(grid.point_range),
            "pillar_size": list(grid.cell),
            "grid": [grid.width, grid.height],
            "max_points": most,
            "inputs": {"points": list(FEATURES), "cell": "y cell * grid[0] + x cell"},
            "outputs": list(self.outputs),
            **card,
            **dict(zip(LIMITS, limits, strict=True)),
        }

    def inputs(self, prepared: PillarInputs) -> dict[str, Tensor]:
        pillars = prepared.pillars
        cell = pillars.coordinates[:, 1] * self.shape[1] + pillars.coordinates[:, 2]
        return {"points": prepared.features, "cell": cell[pillars.row]}

    def forward(self, points: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
        height, width = self.shape
        rows = self.encoder.norm(self.encoder.linear(points))
        # The maximum over a pillar's points, the ReLU after it and its place on the map of zeros
        # are one operator; `segment_reduce`, the faster one in PyTorch, has no other form.
        places = rows.new_zeros((height * width, rows.shape[1]))
        places = places.scatter_reduce(0, cell.unsqueeze(1).expand_as(rows), rows, "amax")
        if self.encoder.padding:
            places = torch.where(self._short(cell), places.maximum(self.encoder.floor), places)
        x = places.view(1, height, width, rows.shape[1]).permute(0, 3, 1, 2)
        maps, _ = self.backbone(x)
        found = self.head(self.neck(maps))
        return tuple(found[name] for name in self.outputs)

    def _short(self, cell: Tensor) -> Tensor:
        """The places (H * W, 1) of pillars that are filled up with rows of zeros."""
        height, width = self.shape
        ones = torch.ones_like(cell, dtype=torch.float32)
        counts = ones.new_zeros(height * width).scatter_add(0, cell, ones)
        return ((counts > 0) & (counts < self.encoder.padding)).unsqueeze(1)
