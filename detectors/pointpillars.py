"""PointPillars, as published for KITTI.

Lang et al., "PointPillars: Fast Encoders for Object Detection from Point Clouds", CVPR 2019.
Pillar feature net (64), 2D backbone of 3, 5 and 5 layers after the strided ones (64, 128, 256),
upsampling neck (3 x 128), anchor head with direction classifier.

Deviation: pillars are dynamic. There is no cap of 32 points a pillar or of 12,000 pillars, so
the rows depend on the cloud alone, and batch statistics see points, not padding.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from kdbench.dataset import Batch
from kdbench.detector import Detections, Detector, Graph
from kdbench.detectors.layers.anchor_head import AnchorHead
from kdbench.detectors.layers.bev_backbone import BevBackbone, UpsamplingNeck
from kdbench.detectors.layers.bev_taps import bev_tap_specs, dense_stages, dense_taps
from kdbench.detectors.layers.pillar_encoder import PillarEncoder
from kdbench.detectors.layers.pillar_graph import PillarGraph
from kdbench.detectors.layers.pillar_map import (
    PillarInputs,
    check_grid,
    pillar_inputs,
    pillar_map,
    pillar_tap_specs,
)
from kdbench.ops.voxelise import Grid
from kdbench.taps import Kind, Taps, TapSpec

WIDTHS, DEPTHS, STRIDES = (64, 128, 256), (3, 5, 5), (2, 2, 2)
NECK_WIDTHS, NECK_FACTORS = (128, 128, 128), (1, 2, 4)
FULL_RANGE = (0.0, -39.68, -3.0, 69.12, 39.68, 1.0)


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
        check_grid(self.name, self.grid, math.prod(STRIDES))
        self.filter = (score_threshold, nms_threshold, nms_before, nms_after)
        widths = [self.width(w) for w in WIDTHS]
        neck_widths = [self.width(w) for w in NECK_WIDTHS]
        self.encoder = PillarEncoder(widths[0], bn_momentum)
        self.backbone = BevBackbone(widths[0], widths, DEPTHS, STRIDES, bn_momentum)
        self.neck = UpsamplingNeck(widths, neck_widths, NECK_FACTORS, bn_momentum)
        cells = (self.grid.height // STRIDES[0], self.grid.width // STRIDES[0])
        self.head = AnchorHead(sum(neck_widths), classes, point_range, *cells)
        self.taps = self._tap_specs(widths[0], sum(neck_widths))
        # Convolutions are fastest where a pillar's row stays one piece of memory.
        for part in (self.backbone, self.neck):
            part.to(memory_format=torch.channels_last)

    def _tap_specs(self, encoder: int, neck: int) -> dict[str, TapSpec]:
        pillar, corner = self.grid.cell[0], self.grid.point_range[:2]
        out = pillar * STRIDES[0]
        return {
            **pillar_tap_specs(self.grid, encoder),
            **bev_tap_specs(self.backbone, STRIDES, pillar, corner),
            "neck": TapSpec(Kind.BEV, neck, out, corner),
            "head.cls": TapSpec(Kind.CLS, len(self.classes), out, corner),
            "head.box": TapSpec(Kind.BOX, 7, out, corner, decode=self.head.decode),
            "head.dir": TapSpec(Kind.DIR, 2, out, corner),
        }

    @property
    def point_range(self) -> tuple[float, ...]:
        return self.grid.point_range

    def prepare(self, batch: Batch) -> PillarInputs:
        return pillar_inputs(batch, self.grid)

    def forward(self, inputs: PillarInputs) -> Taps:
        x, taps = pillar_map(self.encoder, self.grid, inputs)
        return taps | self.dense(x)

    def stages(self, inputs: PillarInputs) -> Iterator[Taps]:
        x, taps = pillar_map(self.encoder, self.grid, inputs)
        yield taps
        yield from dense_stages(self.backbone, self.neck, self.head, x)

    def dense(self, x: Tensor) -> Taps:
        return dense_taps(self.backbone, self.neck, self.head, x)

    def graph(self) -> Graph:
        parts = self.backbone, self.neck, self.head
        return PillarGraph(self.encoder, self.grid, *parts, self.filter)

    def loss(self, taps: Taps, batch: Batch) -> dict[str, Tensor]:
        return self.head.loss(_head_outputs(taps), batch)

    def predict(self, taps: Taps) -> list[Detections]:
        return self.head.predict(_head_outputs(taps), *self.filter)


def _head_outputs(taps: Taps) -> dict[str, Tensor]:
    return {name: taps[f"head.{name}"] for name in ("cls", "box", "dir")}
