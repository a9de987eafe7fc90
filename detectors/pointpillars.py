"""PointPillars, as published for KITTI.

Lang et al., "PointPillars: Fast Encoders for Object Detection from Point Clouds", CVPR 2019.
Pillar feature net (64), 2D backbone of 3, 5 and 5 layers after the strided ones (64, 128, 256),
upsampling neck (3 x 128), anchor head with direction classifier.

Deviation: pillars are dynamic. There is no cap of 32 points a pillar or of 12,000 pillars, so
the rows depend on the cloud alone, and batch statistics see points, not padding.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.dataset import Batch
from kdbench.detector import Detections, Detector
from kdbench.detectors.layers.anchor_head import AnchorHead
from kdbench.detectors.layers.bev_backbone import BevBackbone, UpsamplingNeck
from kdbench.detectors.layers.pillar_encoder import PillarEncoder, decorate
from kdbench.errors import UsageError
from kdbench.ops.scatter import rows_to_map
from kdbench.ops.voxelise import Grid, Pillars, pillarise
from kdbench.taps import Kind, Rows, Taps, TapSpec

WIDTHS, DEPTHS, STRIDES = (64, 128, 256), (3, 5, 5), (2, 2, 2)
NECK_WIDTHS, NECK_FACTORS = (128, 128, 128), (1, 2, 4)
FULL_RANGE = (0.0, -39.68, -3.0, 69.12, 39.68, 1.0)


@dataclass(frozen=True)
class PillarInputs:
    """A batch as pillars, with the decorated points that every network over them shares."""

    pillars: Pillars
    features: Tensor  # (n, 9)


class PointPillars(Detector):
    """See the head of this file.

    Options: `point_range` (metres) and `pillar_size` (metres) set the grid; `bn_momentum` is
    PyTorch's; `score_threshold`, `nms_threshold`, `nms_before` and `nms_after` filter detections.
    """

    name = "pointpillars"
    paper = "PointPillars (CVPR 2019, arXiv 1812.05784)"

    def __init__(
        self,
        classes: tuple[str, ...],
        ratio: float = 1.0,
        *,
        point_range: tuple[float, ...] = FULL_RANGE,
        pillar_size: float = 0.16,
        bn_momentum: float = 0.01,
        score_threshold: float = 0.1,
        nms_threshold: float = 0.01,
        nms_before: int = 100,
        nms_after: int = 50,
    ):
        super().__init__(classes, ratio)
        self.grid = Grid(tuple(point_range), (pillar_size, pillar_size))
        _check_grid(self.grid)
        self.filter = (score_threshold, nms_threshold, nms_before, nms_after)
        widths = [self.width(w) for w in WIDTHS]
        neck_widths = [self.width(w) for w in NECK_WIDTHS]
        self.encoder = PillarEncoder(widths[0], bn_momentum)
        self.backbone = BevBackbone(widths[0], widths, DEPTHS, STRIDES, bn_momentum)
        self.neck = UpsamplingNeck(widths, neck_widths, NECK_FACTORS, bn_momentum)
        cells = (self.grid.height // STRIDES[0], self.grid.width // STRIDES[0])
        self.head = AnchorHead(sum(neck_widths), classes, point_range, *cells)
        self.taps = self._tap_specs(widths, sum(neck_widths), pillar_size)
        # Convolutions are fastest where a pillar's row stays one piece of memory.
        for part in (self.backbone, self.neck):
            part.to(memory_format=torch.channels_last)

    def _tap_specs(self, widths: list[int], neck: int, pillar: float) -> dict[str, TapSpec]:
        corner = self.grid.point_range[:2]
        specs = {"voxel": TapSpec(Kind.ROWS, widths[0], pillar, corner)}
        cells = [pillar * math.prod(STRIDES[: i + 1]) for i in range(len(STRIDES))]
        for i, (width, cell) in enumerate(zip(widths, cells, strict=True)):
            specs[f"backbone.{i}"] = TapSpec(Kind.BEV, width, cell, corner)
        norms = self.backbone.last_norms()
        for i, (width, cell, norm) in enumerate(zip(widths, cells, norms, strict=True)):
            affine = (norm.weight, norm.bias)
            specs[f"preact.{i}"] = TapSpec(Kind.BEV, width, cell, corner, affine=affine)
        out = cells[0]
        specs["neck"] = TapSpec(Kind.BEV, neck, out, corner)
        specs["head.cls"] = TapSpec(Kind.CLS, len(self.classes), out, corner)
        specs["head.box"] = TapSpec(Kind.BOX, 7, out, corner, decode=self.head.decode)
        specs["head.dir"] = TapSpec(Kind.DIR, 2, out, corner)
        return specs

    @property
    def point_range(self) -> tuple[float, ...]:
        return self.grid.point_range

    def prepare(self, batch: Batch) -> PillarInputs:
        pillars = pillarise(batch.points, self.grid, len(batch))
        return PillarInputs(pillars, decorate(pillars, self.grid))

    def forward(self, inputs: PillarInputs) -> Taps:
        pillars = inputs.pillars
        rows = self.encoder(inputs.features, pillars.counts)
        shape = (pillars.frames, self.grid.height, self.grid.width)
        maps, preacts = self.backbone(rows_to_map(rows, pillars.coordinates, shape))
        neck = self.neck(maps)
        taps: Taps = {"voxel": Rows(rows, pillars.coordinates, pillars.counts)}
        taps |= {f"backbone.{i}": x for i, x in enumerate(maps)}
        taps |= {f"preact.{i}": x for i, x in enumerate(preacts)}
        taps["neck"] = neck
        taps |= {f"head.{name}": x for name, x in self.head(neck).items()}
        return taps

    def loss(self, taps: Taps, batch: Batch) -> dict[str, Tensor]:
        return self.head.loss(_head_outputs(taps), batch)

    def predict(self, taps: Taps) -> list[Detections]:
        return self.head.predict(_head_outputs(taps), *self.filter)


def _check_grid(grid: Grid) -> None:
    """The stages halve the map three times; each must come out even."""
    if len(grid.point_range) != 6 or not grid.cell[0] > 0:
        raise UsageError(
            "pointpillars: point_range must be x0, y0, z0, x1, y1, z1 and pillar_size above 0"
        )
    factor = math.prod(STRIDES)
    exact = [
        (grid.point_range[i + 3] - grid.point_range[i]) / grid.cell[i] / factor for i in (0, 1)
    ]
    if any(abs(n - round(n)) > 1e-4 or round(n) < 1 for n in exact):
        raise UsageError(
            f"pointpillars: the grid of {exact[0] * factor:g} x {exact[1] * factor:g} pillars "
            f"must be a multiple of {factor} both ways; change point_range or pillar_size"
        )


def _head_outputs(taps: Taps) -> dict[str, Tensor]:
    return {name: taps[f"head.{name}"] for name in ("cls", "box", "dir")}
