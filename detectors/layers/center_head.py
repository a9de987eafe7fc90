"""The centre head: heat maps of object centres, and a box at each centre (CenterPoint).

Yin et al., "Center-based 3D Object Detection and Tracking", CVPR 2021, section 4, for one group
of classes and without velocities. The code of a box, 8 numbers, is

    its centre in its cell (x, y, in cells from the cell's corner), z (metres), the logarithms of
    length, width and height (metres), sine and cosine of its yaw
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.classes import Classes, names_of
from kdbench.dataset import Batch
from kdbench.detector import Detections
from kdbench.detectors.layers.bev_backbone import conv_block
from kdbench.detectors.layers.heat_maps import (
    gaussian_radius,
    heat_map_focal,
    heat_maps,
    heat_weight,
)
from kdbench.detectors.layers.nms_by_class import nms_by_class
from kdbench.ops.constants import constant
from kdbench.taps import Taps

CODE = {"offset": 2, "z": 1, "size": 3, "heading": 2}  # a branch each, in the order of the code
CODE_SIZE = sum(CODE.values())
BOX_WEIGHT = 2.0  # published for Waymo, scored by IoU as KITTI is; nuScenes has 0.25
NORM_EPS = 1e-3  # of batch norms; published networks have others
LARGEST = 4.0  # log of metres: no box is longer than 54 m, however wild its code


@dataclass(frozen=True)
class Centres:
    """The objects of a batch whose centres lie on the map."""

    frame: Tensor  # (m,) int64
    cell: Tensor  # (m, 2) int64: row, column
    label: Tensor  # (m,) int64
    radius: Tensor  # (m,) int64, of the Gaussian, in cells
    code: Tensor  # (m, 8)


class CenterHead(nn.Module):
    """A shared 3x3 convolution over the neck, then a branch of two for each output.

    `width` are the channels of the shared layer and within each branch, `corner` (x, y) and
    `cell` the map's, in metres; `largest` is the greatest logarithm of a size that is taken as it
    is.
    """

    def __init__(
        self, inputs: int, classes: Classes, width: int, corner, cell: float, momentum: float,
        eps: float = NORM_EPS, largest: float = LARGEST,
    ):  # fmt: skip
        super().__init__()
        self.classes, self.corner, self.cell = names_of(classes), tuple(corner), cell
        self.largest = largest
        self.shared = conv_block(inputs, width, 1, momentum, eps)
        self.branches = nn.ModuleDict(
            {
                name: nn.Sequential(
                    conv_block(width, width, 1, momentum, eps),
                    nn.Conv2d(width, size, 3, padding=1),
                )
                for name, size in {"heat": len(classes), **CODE}.items()
            }
        )
        nn.init.constant_(self.branches["heat"][-1].bias, -math.log(9))  # a prior of 0.1
        for name in CODE:  # networks of all widths start from the same boxes
            nn.init.normal_(self.branches[name][-1].weight, std=0.001)
            nn.init.zeros_(self.branches[name][-1].bias)

    def forward(self, neck: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) to logits `cls` (B, H, W, 1, classes) and codes `box` (B, H, W, 1, 8)."""
        x = self.shared(neck)
        parts = {name: branch(x) for name, branch in self.branches.items()}
        box = torch.cat([parts[name] for name in CODE], dim=1)
        maps = {"cls": parts["heat"], "box": box}
        return {name: y.permute(0, 2, 3, 1).unsqueeze(3) for name, y in maps.items()}

    def card(self) -> dict[str, Any]:
        """What decodes the outputs, as plain values: what the numbers of a box's code are."""
        sizes = [f"log {side}" for side in ("dx", "dy", "dz")]
        return {"head": "centres", "code": ["x", "y", "z", *sizes, "sin yaw", "cos yaw"]}

    def encode(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The cells (m, 2: row, column) of boxes (m, 7), on the map or not, and codes (m, 8)."""
        place = (boxes[:, :2] - constant(self.corner, boxes)) / self.cell
        x_y = place.floor()
        yaw = boxes[:, 6:]
        parts = [place - x_y, boxes[:, 2:3], boxes[:, 3:6].log(), yaw.sin(), yaw.cos()]
        return x_y.long().flip(1), torch.cat(parts, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (..., H, W, 1, 8) to boxes (..., H, W, 1, 7); yaw in [-pi, pi]."""
        height, width = codes.shape[-4:-2]
        column = torch.arange(width, device=codes.device).view(-1, 1)
        row = torch.arange(height, device=codes.device).view(-1, 1, 1)
        x = (codes[..., 0] + column) * self.cell + self.corner[0]
        y = (codes[..., 1] + row) * self.cell + self.corner[1]
        size = codes[..., 3:6].clamp(max=self.largest).exp()
        return torch.cat([torch.stack([x, y, codes[..., 2]], -1), size, _yaw(codes)], dim=-1)

    def codes(self, boxes: Tensor) -> Tensor:
        """The inverse of `decode`; a centre may lie outside of its cell."""
        height, width = boxes.shape[-4:-2]
        column = torch.arange(width, device=boxes.device).view(-1, 1)
        row = torch.arange(height, device=boxes.device).view(-1, 1, 1)
        x = (boxes[..., 0] - self.corner[0]) / self.cell - column
        y = (boxes[..., 1] - self.corner[1]) / self.cell - row
        place, yaw = torch.stack([x, y, boxes[..., 2]], -1), boxes[..., 6:]
        return torch.cat([place, boxes[..., 3:6].log(), yaw.sin(), yaw.cos()], dim=-1)

    def centres(self, batch: Batch, height: int, width: int) -> Centres:
        """What the head is to find on a map of this size; objects off the map are left out."""
        sizes = torch.tensor([len(b) for b in batch.boxes], device=batch.boxes[0].device)
        boxes, labels = torch.cat(batch.boxes), torch.cat(batch.labels)
        frame = torch.repeat_interleave(sizes, output_size=len(boxes))
        cell, code = self.encode(boxes)
        inside = (cell >= 0) & (cell < constant([height, width], cell))
        # A box without a size has no code.
        kept = (inside.all(1) & (boxes[:, 3:6] > 0).all(1)).nonzero().squeeze(1)  # the only wait
        radius = gaussian_radius(boxes[kept][:, 3:5] / self.cell)
        return Centres(frame[kept], cell[kept], labels[kept], radius, code[kept])

    def loss(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Weighted losses, each divided by the number of objects on the maps of the batch.

        Where two objects share a cell, both pull at its code; of one class, the heat map shows
        one.
        """
        logits = outputs["cls"].squeeze(3).permute(0, 3, 1, 2)
        c = self.centres(batch, *logits.shape[2:])
        count = max(1, len(c.frame))
        cls = heat_map_focal(logits, self._heat(c, logits)).sum()
        found = outputs["box"][c.frame, c.cell[:, 0], c.cell[:, 1], 0]
        box = (found - c.code).abs().sum()
        return {"cls": cls / count, "box": BOX_WEIGHT * box / count}

    def asked(self, taps: Taps, batch: Batch) -> tuple[Tensor, Tensor]:
        """Targets and weights of the class scores in `loss`, see `TapSpec.asked`."""
        logits = taps["head.cls"].squeeze(3).permute(0, 3, 1, 2)
        c = self.centres(batch, *logits.shape[2:])
        heat = self._heat(c, logits)
        parts = (heat == 1).to(heat), heat_weight(heat) / max(1, len(c.frame))
        targets, weights = (x.permute(0, 2, 3, 1).unsqueeze(3) for x in parts)
        return targets, weights

    def _heat(self, c: Centres, like: Tensor) -> Tensor:
        """The heat maps (B, classes, H, W) of objects."""
        frames, classes, height, width = like.shape
        maps = c.frame * classes + c.label
        return heat_maps(c.cell, c.radius, maps, (frames * classes, height, width)).view_as(like)

    @torch.no_grad()
    def predict(
        self, outputs: dict[str, Tensor], score: float, nms: float, before: int, after: int
    ) -> list[Detections]:
        """Detections of each frame; the options are those of `nms_by_class`."""
        scores = outputs["cls"].float().sigmoid().flatten(1, 3)
        boxes = self.decode(outputs["box"].float()).flatten(1, 3)
        frames = zip(boxes, scores, strict=True)
        return [nms_by_class(*frame, score, nms, before, after) for frame in frames]


def _yaw(codes: Tensor) -> Tensor:
    """Yaws (..., 1); 0, with a finite gradient, where sine and cosine are both 0."""
    sin, cos = codes[..., 6:7], codes[..., 7:8]
    return torch.atan2(sin, torch.where((sin == 0) & (cos == 0), 1.0, cos))
