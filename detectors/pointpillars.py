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

from kdbench.classes import Classes
from kdbench.dataset import Batch
from kdbench.detector import Detections, Detector, Graph
from kdbench.detectors.layers.anchor_head import AnchorHead
from kdbench.detectors.layers.anchors import anchor_form
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
from kdbench.detectors.layers.row_norm import EPS as NORM_EPS
from kdbench.detectors.layers.row_norm import set_eps
from kdbench.ops.voxelise import Grid
from kdbench.taps import Kind, Taps, TapSpec

WIDTHS, DEPTHS, STRIDES = (64, 128, 256), (3, 5, 5), (2, 2, 2)
NECK_WIDTHS, NECK_FACTORS = (128, 128, 128), (1, 2, 4)
ENCODER_WIDTH = 64
FULL_RANGE = (0.0, -39.68, -3.0, 69.12, 39.68, 1.0)


class PointPillars(Detector):
    """See the head of this file.

    Options: `point_range` (metres) and `pillar_size` (metres) set the grid; `bn_momentum` is
    PyTorch's; `score_threshold`, `nms_threshold`, `nms_before` and `nms_after` filter detections.

    For networks from elsewhere: `widths` of the encoder, the stages and the neck, in place of
    those of a ratio; `max_points` a pillar, as published; `padding` of `PillarEncoder`; `anchors`,
    values of `AnchorForm`; `norm_eps` of the batch norms.
    """

    name = "pointpillars"
    paper = "PointPillars (CVPR 2019, arXiv 1812.05784)"
    published_widths = (ENCODER_WIDTH, *WIDTHS, *NECK_WIDTHS)
    neutral = {"widths": (), "max_points": 0, "padding": 0, "anchors": None, "norm_eps": NORM_EPS}

    def __init__(
        self,
        classes: Classes,
        ratio: float = 1.0,
        *,
        point_range: tuple[float, ...] = FULL_RANGE,
        pillar_size: float = 0.16,
        bn_momentum: float = 0.01,
        score_threshold: float = 0.1,
        nms_threshold: float = 0.01,
        nms_before: int = 100,
        nms_after: int = 50,
        widths: tuple[int, ...] = (),
        max_points: int = 0,
        padding: int = 0,
        anchors: dict | None = None,
        norm_eps: float = NORM_EPS,
    ):
        super().__init__(classes, ratio)
        self.grid = Grid(tuple(point_range), (pillar_size, pillar_size))
        self.max_points = max_points
        check_grid(self.name, self.grid, math.prod(STRIDES))
        self.filter = (score_threshold, nms_threshold, nms_before, nms_after)
        encoder, *others = self.chosen_widths(self.published_widths, widths)
        widths, neck_widths = others[: len(WIDTHS)], others[len(WIDTHS) :]
        self.encoder = PillarEncoder(encoder, bn_momentum, padding)
        self.backbone = BevBackbone(encoder, widths, DEPTHS, STRIDES, bn_momentum)
        self.neck = UpsamplingNeck(widths, neck_widths, NECK_FACTORS, bn_momentum)
        cells = (self.grid.height // STRIDES[0], self.grid.width // STRIDES[0])
        form = anchor_form(anchors or {})
        self.head = AnchorHead(sum(neck_widths), classes, point_range, *cells, form)
        self.taps = self._tap_specs(encoder, sum(neck_widths))
        set_eps(self, norm_eps)
        # Convolutions are fastest where a pillar's row stays one piece of memory.
        for part in (self.backbone, self.neck):
            part.to(memory_format=torch.channels_last)

    def _tap_specs(self, encoder: int, neck: int) -> dict[str, TapSpec]:
        pillar, corner = self.grid.cell[0], self.grid.point_range[:2]
        out = pillar * STRIDES[0]
        return {
            **pillar_tap_specs(self.grid, encoder),
            **bev_tap_specs(self.backbone, STRIDES, pillar, corner),
            "neck": TapSpec(Kind.BEV, neck, out, corner, apply=self.head.forward),
            "head.cls": TapSpec(Kind.CLS, len(self.classes), out, corner, asked=self.head.asked),
            "head.box": TapSpec(
                Kind.BOX, 7, out, corner, decode=self.head.decode, encode=self.head.codes
            ),
            "head.dir": TapSpec(Kind.DIR, 2, out, corner),
        }

    @property
    def point_range(self) -> tuple[float, ...]:
        return self.grid.point_range

    def prepare(self, batch: Batch) -> PillarInputs:
        return pillar_inputs(batch, self.grid, self.max_points)

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
        return PillarGraph(self.encoder, self.grid, self.max_points, *parts, self.filter)

    def loss(self, taps: Taps, batch: Batch) -> dict[str, Tensor]:
        return self.head.loss(_head_outputs(taps), batch)

    def predict(self, taps: Taps) -> list[Detections]:
        return self.head.predict(_head_outputs(taps), *self.filter)


def _head_outputs(taps: Taps) -> dict[str, Tensor]:
    return {name: taps[f"head.{name}"] for name in ("cls", "box", "dir")}
