"""SECOND, as published for KITTI.

Yan et al., "SECOND: Sparsely Embedded Convolutional Detection", Sensors 2018. Mean of the points
of a voxel, sparse 3D encoder (16, 32, 64, 64; out 128), 2D backbone of 5 layers after the first
one of each stage (128, 256), upsampling neck (2 x 256), anchor head with direction classifier.
Widths are those of the released code, which the field compares with, not of the paper's figure.

Deviation: voxels are dynamic. There is no cap of 5 points a voxel or of 16,000 voxels, so the
voxels depend on the cloud alone.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from kdbench.classes import Classes
from kdbench.dataset import Batch
from kdbench.detector import Detections, Detector
from kdbench.detectors.layers.anchor_head import AnchorHead
from kdbench.detectors.layers.anchors import anchor_form
from kdbench.detectors.layers.bev_backbone import BevBackbone, UpsamplingNeck
from kdbench.detectors.layers.bev_taps import bev_tap_specs, dense_stages, dense_taps
from kdbench.detectors.layers.row_norm import EPS as NORM_EPS
from kdbench.detectors.layers.row_norm import set_eps
from kdbench.detectors.layers.sparse_encoder import STRIDE
from kdbench.detectors.layers.voxel_map import NO_GRAPH, VoxelInputs, VoxelMap, check_voxels
from kdbench.ops.voxelise import Grid
from kdbench.taps import Kind, Taps, TapSpec

SPARSE_WIDTHS, SPARSE_OUT = (16, 32, 64, 64), 128
WIDTHS, DEPTHS, STRIDES = (128, 256), (5, 5), (1, 2)
NECK_WIDTHS, NECK_FACTORS = (256, 256), (1, 2)
FULL_RANGE = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)


class Second(Detector):
    """See the head of this file.

    Options: `point_range` (metres) and `voxel_size` (metres along x, y and z) set the grid;
    `bn_momentum` is PyTorch's; `score_threshold`, `nms_threshold`, `nms_before` and `nms_after`
    filter detections.

    For networks from elsewhere: `widths` of the sparse stages, their output, the map's stages and
    the neck, in place of those of a ratio; `max_points` a voxel, as published; `anchors`, values of
    `AnchorForm`; `norm_eps` of the batch norms.
    """

    name = "second"
    paper = "SECOND (Sensors 2018, doi 10.3390/s18103337)"
    published_widths = (*SPARSE_WIDTHS, SPARSE_OUT, *WIDTHS, *NECK_WIDTHS)
    neutral = {"widths": (), "max_points": 0, "anchors": None, "norm_eps": NORM_EPS}
    no_graph = NO_GRAPH

    def __init__(
        self,
        classes: Classes,
        ratio: float = 1.0,
        *,
        point_range: tuple[float, ...] = FULL_RANGE,
        voxel_size: tuple[float, ...] = (0.05, 0.05, 0.1),
        bn_momentum: float = 0.01,
        score_threshold: float = 0.1,
        nms_threshold: float = 0.01,
        nms_before: int = 100,
        nms_after: int = 50,
        widths: tuple[int, ...] = (),
        max_points: int = 0,
        anchors: dict | None = None,
        norm_eps: float = NORM_EPS,
    ):
        super().__init__(classes, ratio)
        grid = Grid(tuple(point_range), tuple(voxel_size))
        check_voxels(self.name, grid, STRIDE * NECK_FACTORS[-1])
        self.filter = (score_threshold, nms_threshold, nms_before, nms_after)
        *sparse_widths, sparse_out, a, b, c, d = self.chosen_widths(self.published_widths, widths)
        widths, neck_widths = (a, b), (c, d)
        self.encoder = VoxelMap(grid, sparse_widths, sparse_out, bn_momentum, max_points)
        self.backbone = BevBackbone(self.encoder.channels, widths, DEPTHS, STRIDES, bn_momentum)
        self.neck = UpsamplingNeck(widths, neck_widths, NECK_FACTORS, bn_momentum)
        cells = (self.encoder.height, self.encoder.width)
        form = anchor_form(anchors or {})
        self.head = AnchorHead(sum(neck_widths), classes, grid.point_range, *cells, form)
        self.taps = self._tap_specs(sum(neck_widths))
        set_eps(self, norm_eps)
        # Convolutions are fastest where a cell's channels stay one piece of memory.
        for part in (self.backbone, self.neck):
            part.to(memory_format=torch.channels_last)

    def _tap_specs(self, neck: int) -> dict[str, TapSpec]:
        corner, cell = self.point_range[:2], self.encoder.cell
        return {
            **self.encoder.tap_specs(),
            **bev_tap_specs(self.backbone, STRIDES, cell, corner),
            "neck": TapSpec(Kind.BEV, neck, cell, corner, apply=self.head.forward),
            "head.cls": TapSpec(Kind.CLS, len(self.classes), cell, corner, asked=self.head.asked),
            "head.box": TapSpec(
                Kind.BOX, 7, cell, corner, decode=self.head.decode, encode=self.head.codes
            ),
            "head.dir": TapSpec(Kind.DIR, 2, cell, corner),
        }

    @property
    def point_range(self) -> tuple[float, ...]:
        return self.encoder.grid.point_range

    def prepare(self, batch: Batch) -> VoxelInputs:
        return self.encoder.prepare(batch)

    def forward(self, inputs: VoxelInputs) -> Taps:
        x, taps = self.encoder(inputs)
        return taps | self.dense(x)

    def stages(self, inputs: VoxelInputs) -> Iterator[Taps]:
        x, taps = self.encoder(inputs)
        yield taps
        yield from dense_stages(self.backbone, self.neck, self.head, x)

    def dense(self, x: Tensor) -> Taps:
        return dense_taps(self.backbone, self.neck, self.head, x)

    def loss(self, taps: Taps, batch: Batch) -> dict[str, Tensor]:
        return self.head.loss(_head_outputs(taps), batch)

    def predict(self, taps: Taps) -> list[Detections]:
        return self.head.predict(_head_outputs(taps), *self.filter)


def _head_outputs(taps: Taps) -> dict[str, Tensor]:
    return {name: taps[f"head.{name}"] for name in ("cls", "box", "dir")}
