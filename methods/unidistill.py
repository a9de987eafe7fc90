"""UniDistill: nine points of every object, how they relate, and the head around its centre.

    feature   100 mean_i,k |r(f_S,ik) - f_T,ik|                       k: corners, edges' middles,
    relation   40 mean_i,kl |cos(r(f_S,ik), r(f_S,il)) - cos(f_T,ik, f_T,il)|            centre
    response   10 sum_a g_a ( |p_S - p_T|_1 + |code_S - code_T|_1 ) / sum_a g_a

over boxes i of the batch, features f of the neck at their nine points, bilinear, and anchors a
with the Gaussians g around the centres of boxes. r is a 1x1 adapter, trained with the student.
"""

import torch
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.ops.heads import code_difference
from kdbench.ops.regions import box_points, centre_heat, sample_map

EPSILON = 1e-6  # keeps frames without a box from dividing by 0
PLACES = (-0.5, 0.0, 0.5)  # of the nine points, in lengths and widths of the box


class UniDistill(Method):
    """Options: weights `feature` (100), `relation` (40) and `response` (10), as published."""

    name = "unidistill"
    neutral = {"adapter": "linear"}
    needs = ("neck", "head.cls", "head.box")
    paper = Paper(
        "UniDistill: A Universal Cross-Modality Knowledge Distillation Framework for 3D Object "
        "Detection in Bird's-Eye View",
        2023,
        "CVPR 2023, arXiv 2303.15083",
    )
    zero_when_equal = True
    deviations = (
        "teacher and student see the same sensor, for which the method was not made",
        "anchors: all of a cell share the Gaussian of its place; the heading's code by the sine "
        "of its difference",
        "a Gaussian's spread is a sixth of the box's diagonal, at least one cell, in place of a "
        "radius in cells",
    )

    def __init__(
        self, student, teacher, *, feature=100.0, relation=40.0, response=10.0, adapter="linear"
    ):
        super().__init__(student, teacher)
        self.feature, self.relation, self.response = feature, relation, response
        self.adapter = Adapter(student["neck"], teacher["neck"], adapter)

    def share_adapters(self):
        set_identity(self.adapter)

    def forward(self, student, teacher, batch):
        f_s = self._points(self.adapter(student["neck"]), batch)
        f_t = self._points(self.adapter.target(teacher["neck"]), batch)
        relations = ((cosines(f_s) - cosines(f_t)).abs().sum()) / max(1, 9 * f_t[..., 0].numel())
        return {
            "feature": self.feature * (f_s - f_t).abs().sum() / max(1, f_t.numel()),
            "relation": self.relation * relations,
            "response": self.response * self._response(student, teacher, batch),
        }

    def _points(self, neck, batch):
        """Features (M, 9, C) at the points of all boxes of the batch."""
        spec = self.teacher_specs["neck"]
        found = [
            sample_map(x, box_points(b, PLACES), spec)
            for x, b in zip(neck, batch.boxes, strict=True)
        ]
        return torch.cat(found).flatten(1, 2)

    def _response(self, student, teacher, batch):
        spec, (height, width) = self.teacher_specs["head.box"], teacher["head.box"].shape[1:3]
        heat = centre_heat(batch.boxes, spec, height, width).unsqueeze(-1)  # for all anchors
        p_s, p_t = (taps["head.cls"].sigmoid() for taps in (student, teacher))
        codes = code_difference(student["head.box"], teacher["head.box"]).abs().sum(-1)
        unlike = (p_s - p_t).abs().sum(-1) + codes
        anchors = unlike.shape[-1]
        return (heat * unlike).sum() / (anchors * heat.sum()).clamp(min=EPSILON)


def cosines(points):
    """The cosine (M, 9, 9) of every two of an object's points (M, 9, C)."""
    directions = F.normalize(points, dim=-1)
    return directions @ directions.transpose(1, 2)
