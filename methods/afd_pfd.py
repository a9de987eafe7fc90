"""AFD and PFD (RadarDistill): features where maps are active, and where objects are said to be.

    afd   5 ( 3e-4 sum_both e + 5e-5 N_both / N_alone sum_alone e ) / B,   e = |r(F_S) - F_T|^2
    pfd  25 ( 5 mean_objects d + 1 mean_false d ),   d = | softmax(r(G_S)) - softmax(G_T) |_1

over cells: `both` where teacher and student are active, `alone` where the student alone is;
`objects` where a label's Gaussian is above 0.1, `false` where it is not but the student's best
score is. F is a map of the backbone, G the neck, softmax over channels, r a 1x1 adapter of each. A
cell is active where the sum of its channels, all after a ReLU, exceeds the map's mean. A region
without a cell adds 0.
"""

from math import inf

import torch
from torch import nn

from kdbench.errors import UsageError
from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.ops.regions import centre_heat
from kdbench.taps import Kind, choose


class ActivationAndProposals(Method):
    """Options: `tap` (a pattern: which maps AFD compares), `threshold` of activity, in means of a
    map (0: published, every cell here); published weights of cells (`both`, `alone`, `objects`,
    `false_positives`), `hot` from which a score or a label's Gaussian counts, and weights of all
    (`afd`, `pfd`).
    """

    name = "afd-pfd"
    neutral = {"adapter": "linear"}
    limits = {"threshold": (0, inf), "hot": (0, 1)}
    needs = ("backbone.0", "neck", "head.cls")
    paper = Paper(
        "RadarDistill: Boosting Radar-based Object Detection Performance via Knowledge "
        "Distillation from LiDAR Features",
        2024,
        "CVPR 2024, arXiv 2403.05061",
    )
    zero_when_equal = True
    deviations = (
        "teacher and student see the same sensor, for which the method was not made",
        "activity is compared with the map's mean: after dense layers no cell sums up to 0, as the "
        "cells that a sparse encoder leaves out do; the published rule would take all of the map",
        "AFD compares the first map of the 2D backbone, the nearest to a sparse encoder's; the "
        "student's activity is that of its own channels, before the adapter",
        "1x1 adapters in place of the dilated layers that make radar maps dense (CMA)",
        "the authors' code also trains the student's activity to be the teacher's mask; left out",
        "PFD compares the neck alone, not two maps; a cell's score is the best of its anchors",
        "a Gaussian's spread is a sixth of the box's diagonal, at least one cell, in place of a "
        "radius in cells",
    )

    def __init__(
        self, student, teacher, *,
        tap="backbone.0", threshold=1.0, both=3e-4, alone=5e-5,
        objects=5.0, false_positives=1.0, hot=0.1, afd=5.0, pfd=25.0, adapter="linear",
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.names = choose(tap, student, Kind.BEV)
        if before := [name for name in self.names if student[name].affine is not None]:
            raise UsageError(f"option tap: {before[0]} is a map before its ReLU, name one after it")
        self.threshold, self.hot = threshold, hot
        self.both, self.alone = both, alone
        self.objects, self.false_positives = objects, false_positives
        self.afd, self.pfd = afd, pfd
        self.adapters = nn.ModuleList(Adapter(student[n], teacher[n], adapter) for n in self.names)
        self.neck_adapter = Adapter(student["neck"], teacher["neck"], adapter)

    def share_adapters(self):
        for adapter in [*self.adapters, self.neck_adapter]:
            set_identity(adapter)

    def forward(self, student, teacher, batch):
        pairs = zip(self.names, self.adapters, strict=True)
        maps = [self._activation(student[n], adapter, teacher[n]) for n, adapter in pairs]
        return {
            "afd": self.afd * sum(maps) / len(maps),
            "pfd": self.pfd * self._proposals(student, teacher, batch),
        }

    def _activation(self, f_s, adapter, f_t):
        """AFD of one map (B, C, H, W)."""
        on_s, on_t = active(f_s, self.threshold), active(f_t, self.threshold)
        both, alone = on_s & on_t, on_s & ~on_t
        self.logs |= {"both": both.float().mean(), "alone": alone.float().mean()}
        error = (adapter(f_s) - adapter.target(f_t)).square().sum(1)
        balance = both.sum() / alone.sum().clamp(min=1)
        weight = self.both * both + self.alone * balance * alone
        return (weight * error).sum() / len(error)

    def _proposals(self, student, teacher, batch):
        f_s = self.neck_adapter(student["neck"])
        f_t = self.neck_adapter.target(teacher["neck"])
        objects, false = self._regions(student["head.cls"], batch.boxes)
        unlike = (f_s.softmax(1) - f_t.softmax(1)).abs().sum(1)
        return self.objects * mean_over(objects, unlike) + self.false_positives * mean_over(
            false, unlike
        )

    @torch.no_grad()
    def _regions(self, logits, boxes):
        """Where an object is labelled, and where the student alone says one is: (B, H, W) bool."""
        labelled = centre_heat(boxes, self.teacher_specs["neck"], *logits.shape[1:3]) > self.hot
        return labelled, (logits.sigmoid().amax((3, 4)) > self.hot) & ~labelled


def active(x, threshold):
    """The cells (B, H, W) of a map after a ReLU whose sum exceeds the mean times a threshold."""
    strength = x.sum(1)
    return strength > threshold * strength.mean()


def mean_over(region, values):
    """The mean of values in a region, a mask of the same shape; 0 where it is empty."""
    return (region * values).sum() / region.sum().clamp(min=1)
