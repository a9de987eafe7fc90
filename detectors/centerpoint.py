"""CenterPoint, its first stage, in two forms for KITTI's classes.

Yin et al., "Center-based 3D Object Detection and Tracking", CVPR 2021. A map of pillars (64) or
of voxels (sparse 3D encoder 16, 32, 64, 64; out 128), a 2D backbone and an upsampling neck, and
a head that looks for the centres of objects.

Widths are the published ones, those of PointPillars and SECOND. The authors publish for nuScenes
and Waymo; here the grid of pillars is that of PointPillars for KITTI, and voxels of 0.08 m, between
their 0.075 and 0.1 m, fill the same range in as many layers as theirs (40).

Deviations: pillars and voxels are dynamic, without a cap on their points. One group for all
classes, and no velocities, as for Waymo. The voxel form's 3D encoder has no residual blocks.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from kdbench.classes import Classes
from kdbench.dataset import Batch
from kdbench.detector import Detections, Detector, Graph
from kdbench.detectors.layers.bev_backbone import BevBackbone, UpsamplingNeck
from kdbench.detectors.layers.bev_taps import bev_tap_specs, dense_stages, dense_taps
from kdbench.detectors.layers.center_head import CODE_SIZE, LARGEST, NORM_EPS, CenterHead
from kdbench.detectors.layers.pillar_graph import PillarGraph
from kdbench.detectors.layers.pillar_map import PillarInputs, PillarMap, check_grid
from kdbench.detectors.layers.sparse_encoder import STRIDE
from kdbench.detectors.layers.voxel_map import NO_GRAPH, VoxelInputs, VoxelMap, check_voxels
from kdbench.errors import UsageError
from kdbench.ops.voxelise import Grid
from kdbench.registry.suggest import unknown
from kdbench.taps import Kind, Taps, TapSpec

HEAD_WIDTH = 64
FULL_RANGE = (0.0, -39.68, -3.0, 69.12, 39.68, 1.0)


@dataclass(frozen=True)
class Form:
    """Encoder, backbone and neck of a form at ratio 1."""

    encoder: tuple[int, ...]  # of voxels: the sparse stages and their output
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    strides: tuple[int, ...]
    neck_widths: tuple[int, ...]
    neck_factors: tuple[int, ...]

    @property
    def all_widths(self) -> tuple[int, ...]:
        """Those of the option `widths`, in its order."""
        return (*self.encoder, *self.widths, *self.neck_widths, HEAD_WIDTH)


FORMS = {
    "pillar": Form((64,), (64, 128, 256), (3, 5, 5), (2, 2, 2), (128, 128, 128), (1, 2, 4)),
    "voxel": Form((16, 32, 64, 64, 128), (128, 256), (5, 5), (1, 2), (256, 256), (1, 2)),
}


class CenterPoint(Detector):
    """See the head of this file.

    Options: `form` is pillar or voxel; `point_range` (metres) and `pillar_size` or `voxel_size`
    (metres; along x, y and z) set the grid; `bn_momentum` is PyTorch's; `score_threshold`,
    `nms_threshold`, `nms_before` and `nms_after` filter detections.

    For networks from elsewhere: `widths` of the encoder, the stages, the neck and the head, in
    place of those of a ratio; `strides` of the stages; `max_points` a cell, as published; `padding`
    of `PillarEncoder`; `head_eps` of the head's batch norms; whether sizes are `clamped`.

    NMS is by rotated IoU within a class, with the values published for nuScenes. The authors'
    other choice, circles around centres, needs a radius for each class, and one that keeps two
    cars side by side apart keeps doubles of a car too.
    """

    name = "centerpoint"
    paper = "CenterPoint (CVPR 2021, arXiv 2006.11275)"
    published_widths = FORMS["pillar"].all_widths
    neutral = {
        "widths": (), "strides": (), "max_points": 0, "padding": 0, "head_eps": NORM_EPS,
        "clamped": True,
    }  # fmt: skip
    no_graph = f"in the form `voxel` {NO_GRAPH}"

    def __init__(
        self,
        classes: Classes,
        ratio: float = 1.0,
        *,
        form: str = "pillar",
        point_range: tuple[float, ...] = FULL_RANGE,
        pillar_size: float = 0.16,
        voxel_size: tuple[float, ...] = (0.08, 0.08, 0.1),
        bn_momentum: float = 0.01,
        score_threshold: float = 0.1,
        nms_threshold: float = 0.2,
        nms_before: int = 1000,
        nms_after: int = 83,
        widths: tuple[int, ...] = (),
        strides: tuple[int, ...] = (),
        max_points: int = 0,
        padding: int = 0,
        head_eps: float = NORM_EPS,
        clamped: bool = True,
    ):
        super().__init__(classes, ratio)
        if form not in FORMS:
            raise UsageError(unknown("form of centerpoint", form, FORMS))
        self.filter = (score_threshold, nms_threshold, nms_before, nms_after)
        f = FORMS[form]
        strides = self._checked(strides, f)
        *found, head_width = self.chosen_widths(f.all_widths, widths)
        of_encoder, stages, neck_widths = _split(found, len(f.encoder), len(f.widths))
        cells = {"pillar": (pillar_size, pillar_size), "voxel": tuple(voxel_size)}[form]
        grid = Grid(tuple(point_range), cells)
        if form == "pillar":
            check_grid(self.name, grid, math.prod(strides))
            self.encoder = PillarMap(grid, *of_encoder, bn_momentum, max_points, padding)
        else:
            check_voxels(self.name, grid, STRIDE * math.prod(strides))
            *sparse, out = of_encoder
            self.encoder = VoxelMap(grid, sparse, out, bn_momentum, max_points)
        self.backbone = BevBackbone(self.encoder.channels, stages, f.depths, strides, bn_momentum)
        self.neck = UpsamplingNeck(stages, neck_widths, f.neck_factors, bn_momentum)
        place = (self.point_range[:2], self.encoder.cell * strides[0])
        norms_and_sizes = (bn_momentum, head_eps, LARGEST if clamped else math.inf)
        self.head = CenterHead(sum(neck_widths), classes, head_width, *place, *norms_and_sizes)
        self.taps = self._tap_specs(strides, sum(neck_widths))
        # Convolutions are fastest where a cell's channels stay one piece of memory.
        for part in (self.backbone, self.neck, self.head):
            part.to(memory_format=torch.channels_last)

    def _checked(self, strides, form: Form) -> tuple[int, ...]:
        """The strides chosen, or the form's."""
        if strides and (len(strides) != len(form.strides) or min(strides) < 1):
            raise UsageError(f"centerpoint: strides must be {len(form.strides)} whole numbers")
        if strides and tuple(strides[1:]) != form.strides[1:]:
            raise UsageError("centerpoint: only the first of the strides can be another")
        return tuple(strides) or form.strides

    def _tap_specs(self, strides, neck: int) -> dict[str, TapSpec]:
        corner, cell = self.head.corner, self.head.cell
        return {
            **self.encoder.tap_specs(),
            **bev_tap_specs(self.backbone, strides, self.encoder.cell, corner),
            "neck": TapSpec(Kind.BEV, neck, cell, corner, apply=self.head.forward),
            "head.cls": TapSpec(Kind.CLS, len(self.classes), cell, corner, asked=self.head.asked),
            "head.box": TapSpec(
                Kind.BOX, CODE_SIZE, cell, corner, decode=self.head.decode, encode=self.head.codes
            ),
        }

    @property
    def point_range(self) -> tuple[float, ...]:
        return self.encoder.grid.point_range

    def prepare(self, batch: Batch) -> PillarInputs | VoxelInputs:
        return self.encoder.prepare(batch)

    def forward(self, inputs: PillarInputs | VoxelInputs) -> Taps:
        x, taps = self.encoder(inputs)
        return taps | self.dense(x)

    def stages(self, inputs: PillarInputs | VoxelInputs) -> Iterator[Taps]:
        x, taps = self.encoder(inputs)
        yield taps
        yield from dense_stages(self.backbone, self.neck, self.head, x)

    def dense(self, x: Tensor) -> Taps:
        return dense_taps(self.backbone, self.neck, self.head, x)

    def graph(self) -> Graph:
        if not isinstance(self.encoder, PillarMap):
            return super().graph()
        parts = self.backbone, self.neck, self.head
        pillars = self.encoder
        return PillarGraph(pillars.encoder, pillars.grid, pillars.most, *parts, self.filter)

    def loss(self, taps: Taps, batch: Batch) -> dict[str, Tensor]:
        return self.head.loss(_head_outputs(taps), batch)

    def predict(self, taps: Taps) -> list[Detections]:
        return self.head.predict(_head_outputs(taps), *self.filter)


def _head_outputs(taps: Taps) -> dict[str, Tensor]:
    return {name: taps[f"head.{name}"] for name in ("cls", "box")}


def _split(widths: list[int], first: int, second: int) -> tuple[list[int], ...]:
    """The `first` widths, the `second` ones after them, and the rest."""
    return widths[:first], widths[first : first + second], widths[first + second :]
