"""PointRCNN with its two stages, three classes in one network.

Shi, Wang and Li, "PointRCNN: 3D Object Proposal Generation and Detection from Point Cloud",
CVPR 2019. First stage: PointNet++ with multi-scale grouping over 16,384 points, foreground
segmentation, a box from each point in bins. Second stage: 512 points of each proposal in the
proposal's own frame, a small PointNet++, a score and a refined box.

Deviations from the paper:
- Both stages train together; the second one sends no gradient into the first (the paper trains
  one after the other).
- Three classes: a score for each class and point, mean sizes by class, and as many neighbours
  (16) in the second stage, as in PointDistiller's release.
- Proposals are not split into near and far ones before NMS; "far" points are those 40 m from
  the sensor, in any direction.
- `coder=residuals` and `roi_coder=residuals` are that release: plain residuals in both stages, in
  the second one relative to the proposal, whose score is learned as a grade of its overlap, and a
  loss of corners.
- `fused_scores`: a detection's score is the geometric mean of both stages' scores. A second stage
  that has seen few proposals ranks worse alone.
- With fewer points of a proposal than 512 the radii of the second stage grow as the distances
  between points do.
- A width is divided by the root of the ratio to one decimal place (2.8 at ratio 8), as in that
  release.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from kdbench.classes import Classes
from kdbench.dataset import Batch
from kdbench.detector import Detections, Detector, merged
from kdbench.detectors.layers import point_head, rcnn_head, roi_sampling
from kdbench.detectors.layers.anchors import LARGEST
from kdbench.detectors.layers.bin_coder import BinCoder
from kdbench.detectors.layers.nms_by_class import nms_by_class
from kdbench.detectors.layers.point_input import fixed_clouds, generator
from kdbench.detectors.layers.point_pyramid import PointPyramid, build_pyramid
from kdbench.detectors.layers.pointnet2 import BALLS, SHARE, PointNet2
from kdbench.detectors.layers.rcnn_head import CENTRES, MARGIN, Refinement, RefinementHead
from kdbench.detectors.layers.residual_coder import ResidualCoder
from kdbench.detectors.layers.roi_judge import RoiJudge
from kdbench.detectors.layers.roi_sampling import Rois
from kdbench.detectors.layers.row_norm import EPS as NORM_EPS
from kdbench.detectors.layers.row_norm import set_eps
from kdbench.errors import UsageError
from kdbench.ops.roi_points import boxes_to_canonical, from_canonical
from kdbench.taps import Kind, Rows, Taps, TapSpec

FULL_RANGE = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
TRAIN_NMS, TEST_NMS = 0.85, 0.8  # BEV IoU above which the lesser proposal goes
# Coders by name, made for the greatest logarithm of a size; the bins are those of PointRCNN's code.
CODERS = {"bins": lambda _: BinCoder(3.0, 0.5, 12), "residuals": partial(ResidualCoder, True)}
ROI_CODERS = {
    "bins": lambda _: BinCoder(1.5, 0.5, 9, turn=math.pi / 2),
    "residuals": partial(ResidualCoder, False),
}


@dataclass(frozen=True)
class PointInputs:
    """A batch as points of a fixed number a frame, with what belongs to them."""

    pyramid: PointPyramid
    reflectance: Tensor  # (B, N, 1)
    filled: Tensor  # (B,) bool: a frame without points holds N copies of one that is not there
    seeds: list[int]  # of what is drawn at random, a frame each
    boxes: list[Tensor]  # objects, a frame each: (m, 7); proposals are sampled by them
    labels: list[Tensor]


class PointRCNN(Detector):
    """See the head of this file.

    Options: `point_range` (metres); `points` a frame, drawn `even`ly near and far or, as published,
    all that are far and some of the near ones; `coder` and, in the second stage, `roi_coder` bins
    (published) or residuals (PointDistiller's release); `proposals_before` NMS, `proposals_train`
    and `proposals_test` after it; `rois` of a frame from which the second stage learns,
    `roi_points` of each, and `roi_centres`, how many of them its two set abstractions keep;
    `fused_scores` of both stages; `bn_momentum` is PyTorch's; `score_threshold`, `nms_threshold`
    and `nms_after` filter detections.

    For networks from elsewhere: `widths` in place of the published ones, of all layers that have
    the same; `norm_eps` of the batch norms; the `interpolation_power` of
    distances; the `roi_margin` (metres) around a proposal from which its points are taken; the IoU
    `proposal_nms` above which a lesser proposal goes when detecting; whether one without points is
    scored (`score_empty`), and whether sizes are `clamped`.
    """

    name = "pointrcnn"
    paper = "PointRCNN (CVPR 2019, arXiv 1812.04244)"
    published_widths = (16, 32, 64, 96, 128, 196, 256, 384, 512)  # each of some of the layers
    neutral = {
        "norm_eps": NORM_EPS, "interpolation_power": 2, "roi_margin": MARGIN,
        "proposal_nms": TEST_NMS, "score_empty": False, "clamped": True,
        "widths": (),
    }  # fmt: skip
    no_graph = (
        "farthest point sampling, ball query and RoI point pooling are operators of neither ONNX "
        "nor torch.export"
    )

    def __init__(
        self,
        classes: Classes,
        ratio: float = 1.0,
        *,
        point_range: tuple[float, ...] = FULL_RANGE,
        points: int = 16384,
        even: bool = False,
        coder: str = "bins",
        roi_coder: str = "bins",
        proposals_before: int = 9000,
        proposals_train: int = 512,
        proposals_test: int = 100,
        rois: int = 64,
        roi_points: int = 512,
        roi_centres: tuple[int, ...] = CENTRES,
        fused_scores: bool = False,
        bn_momentum: float = 0.1,
        score_threshold: float = 0.1,
        nms_threshold: float = 0.1,
        nms_after: int = 50,
        norm_eps: float = NORM_EPS,
        interpolation_power: int = 2,
        roi_margin: float = MARGIN,
        proposal_nms: float = TEST_NMS,
        score_empty: bool = False,
        clamped: bool = True,
        widths: tuple[int, ...] = (),
    ):
        super().__init__(classes, ratio)
        chosen = self.chosen_widths(self.published_widths, widths)
        width = dict(zip(self.published_widths, chosen, strict=True)).__getitem__
        self._range = tuple(point_range)
        self.points, self.even = points, even
        self.rois, self.roi_points, self.centres = rois, roi_points, tuple(roi_centres)
        self.proposals = (proposals_before, proposals_train, proposals_test)
        self.filter = (score_threshold, nms_threshold, nms_after)
        self.fused_scores, self.score_empty = fused_scores, score_empty
        self.power, self.margin, self.proposal_nms = interpolation_power, roi_margin, proposal_nms
        self._check(coder, roi_coder)
        largest = LARGEST if clamped else math.inf
        point_coder = CODERS[coder](largest)
        self.backbone = PointNet2(1, width, bn_momentum)
        channels = self.backbone.channels
        hidden = [width(w) for w in point_head.HIDDEN]
        self.head = point_head.PointHead(channels, hidden, classes, point_coder, bn_momentum)
        self.released = roi_coder == "residuals"
        second_coder = ROI_CODERS[roi_coder](largest)
        self.rcnn = RefinementHead(
            channels, width, second_coder, bn_momentum, self.centres, self.released
        )
        set_eps(self, norm_eps)
        self._codes = f"head.{coder}"
        self.taps = self._tap_specs(channels, coder, point_coder)

    def _tap_specs(self, channels: int, coder: str, codes) -> dict[str, TapSpec]:
        kind = {"bins": Kind.BINS, "residuals": Kind.CODES}[coder]
        bins = tuple(codes.bins) if kind is Kind.BINS else ()
        return {
            "points": TapSpec(Kind.POINTS, channels),
            "head.cls": TapSpec(Kind.CLS, len(self.classes), asked=self._asked),
            self._codes: TapSpec(kind, codes.channels, bins=bins),
            "judge": TapSpec(Kind.JUDGE, 1),
        }

    @staticmethod
    def compressed(published: int, ratio: float) -> int:
        return max(1, int(published / round(ratio**0.5, 1)))

    @property
    def point_range(self) -> tuple[float, ...]:
        return self._range

    def _check(self, coder: str, roi_coder: str) -> None:
        for option, value in (("coder", coder), ("roi_coder", roi_coder)):
            if value not in CODERS:
                one = ", ".join(CODERS)
                raise UsageError(f"pointrcnn: {option} must be one of {one}, not {value!r}")
        low, high = self._range[:3], self._range[3:]
        if len(high) != 3 or not all(a < b for a, b in zip(low, high, strict=True)):
            raise UsageError("pointrcnn: point_range must be x0, y0, z0, x1, y1, z1")
        least = SHARE ** len(BALLS)
        counts = (self.rois, self.roi_points, *self.proposals, *self.centres)
        if self.points < least or len(self.centres) != 2 or min(counts) < 1:
            raise UsageError(
                f"pointrcnn: points must be at least {least}, the numbers of proposals, of rois, "
                "of roi_points and of the two roi_centres at least 1"
            )

    def prepare(self, batch: Batch) -> PointInputs:
        clouds, filled, seeds = fixed_clouds(
            batch.points, len(batch), self._range, self.points, self.even
        )
        pyramid = self.pyramid(clouds[..., :3].contiguous())
        return PointInputs(pyramid, clouds[..., 3:], filled, seeds, batch.boxes, batch.labels)

    def pyramid(self, xyz: Tensor) -> PointPyramid:
        """The pyramid over clouds (B, points, 3); their order decides which points it keeps."""
        counts = [self.points // SHARE ** (i + 1) for i in range(len(BALLS))]
        return build_pyramid(xyz, counts, BALLS, self.power)

    def forward(self, inputs: PointInputs) -> Taps:
        return merged(self.stages(inputs))

    def stages(self, inputs: PointInputs) -> Iterator[Taps]:
        xyz = inputs.pyramid.xyz[0]
        rows = self.backbone(inputs.pyramid, inputs.reflectance)
        yield {"points": _point_rows(rows, xyz)}
        cls, codes = self.head(rows)
        yield {"head.cls": cls[:, :, None, None], self._codes: codes[:, :, None, None]}
        boxes, scores, labels = self.head.boxes(cls, codes, xyz)
        second = self.roi_points, self.margin
        yield {"judge": RoiJudge(xyz, rows.detach(), scores, self.rcnn, *second)}
        rois = self._rois(inputs, boxes, scores, labels)
        *cloud, filled = rcnn_head.pool(rois, xyz, rows.detach(), scores, *second)
        yield {"_refinement": Refinement(rois, *self.rcnn(*cloud), filled, inputs.filled)}

    def _rois(self, inputs: PointInputs, boxes, scores, labels) -> Rois:
        """Proposals; in training those to learn from."""
        before, train, test = self.proposals
        after, threshold = (train, TRAIN_NMS) if self.training else (test, self.proposal_nms)
        rois = roi_sampling.propose(boxes, scores, labels, inputs.filled, before, after, threshold)
        if not self.training:
            return rois
        draws = [generator(seed) for seed in inputs.seeds]
        return roi_sampling.sample(rois, inputs.boxes, inputs.labels, self.rois, draws)

    def loss(self, taps: Taps, batch: Batch) -> dict[str, Tensor]:
        """Losses of both stages; what a proposal should say is looked up in `batch`.

        Proposals were sampled by the labels that `prepare` saw. If a method changes labels after
        that, they are judged by the changed ones.
        """
        refined: Refinement = taps["_refinement"]
        cls, codes = (taps[name].flatten(2) for name in ("head.cls", self._codes))
        xyz = taps["points"].positions.view(*cls.shape[:2], 3)
        points = self.head.loss(cls, codes, xyz, refined.frames, batch)
        objects, iou = roi_sampling.match(refined.rois, batch.boxes, batch.labels)
        local = boxes_to_canonical(objects, refined.rois.boxes)
        sizes = self._reference_sizes(refined.rois)
        return points | self.rcnn.loss(
            refined.cls, refined.codes, local, sizes, iou, refined.filled
        )

    def _asked(self, taps: Taps, batch: Batch) -> tuple[Tensor, Tensor]:
        """Targets and weights of the first stage's class scores, see `TapSpec.asked`."""
        cls = taps["head.cls"].flatten(2)
        xyz = taps["points"].positions.view(*cls.shape[:2], 3)
        found = self.head.asked(cls, xyz, taps["_refinement"].frames, batch)
        targets, weights = (x[:, :, None, None] for x in found)
        return targets, weights

    def _reference_sizes(self, rois: Rois) -> Tensor:
        """Sizes (r, 3) that the second stage's codes are relative to."""
        return rois.boxes[:, 3:6] if self.released else self.head.sizes[rois.labels]

    @torch.no_grad()
    def predict(self, taps: Taps) -> list[Detections]:
        refined: Refinement = taps["_refinement"]
        labels = refined.rois.labels
        boxes = self.refined_boxes(refined.codes, refined.rois)
        scores = refined.cls.float().sigmoid()
        if self.fused_scores:
            scores = (scores * refined.rois.scores).sqrt()
        if not self.score_empty:
            scores = scores.where(refined.filled, -1.0)
        by_class = scores.new_full((len(scores), len(self.classes)), -1.0)
        by_class.scatter_(1, labels.unsqueeze(1), scores.unsqueeze(1))
        least, threshold, limit = self.filter
        frames = (refined.rois.frame == i for i in range(len(refined.frames)))
        return [
            nms_by_class(boxes[i], by_class[i], least, threshold, len(boxes), limit) for i in frames
        ]

    def refined_boxes(self, codes: Tensor, rois: Rois) -> Tensor:
        """Boxes (r, 7) of the second stage's codes (r, channels) for its proposals."""
        local = self.rcnn.coder.decode(codes.float(), self._reference_sizes(rois))
        return from_canonical(local, rois.boxes)


def _point_rows(rows: Tensor, xyz: Tensor) -> Rows:
    """Rows (B, N, C) at points (B, N, 3) as a tap."""
    frames, number = rows.shape[:2]
    place = torch.cartesian_prod(
        *(torch.arange(n, device=rows.device) for n in (frames, 1, number))
    )
    return Rows(rows.flatten(0, 1), place, torch.ones_like(place[:, 0]), xyz.flatten(0, 1))
