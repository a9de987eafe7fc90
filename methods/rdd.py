"""RDD, representation disparity-aware distillation: proposals whose features differ matter.

Proposals of teacher and student, M + N of a frame, are paired by location: with anchor a come
the features f of its cell, scores p (classes) and box codes b of both networks.

    D_a = KL( softmax(f_T / tau) || softmax(r(f_S) / tau) )          over channels
    m   = argmin over [0, 1] of sum_a m_a (-D_a / mean D) + lambda |m|_1
        = 1 where D_a > lambda mean D, else 0
    feature = 0.2 mean_a m_a |r(f_S) - f_T|_2 / sqrt(C)
    head    = 0.2 mean_a m_a ( |p_S - p_T|_1 + |b_S - b_T|_1 )

r is a 1x1 adapter, trained with the student. The more two features differ, the less information
they share, so the bottleneck keeps the pairs with the largest disparity.
"""

from math import inf

import torch

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.ops.anchors import proposals
from kdbench.ops.heads import code_difference


class RDD(Method):
    """Options: `proposals` of each network a frame, `overlap` of their NMS, `tau`, `sparsity`
    (lambda), `feature_weight` and `head_weight`.
    """

    name = "rdd"
    neutral = {"adapter": "linear"}
    limits = {"proposals": (1, inf)}
    needs = ("neck", "head.cls", "head.box")
    paper = Paper(
        "Representation Disparity-aware Distillation for 3D Object Detection",
        2023,
        "ICCV 2023, arXiv 2308.10308",
    )
    zero_when_equal = True
    deviations = (
        "single-stage heads have no proposals: the best anchors after NMS, by best class score, "
        "take their place, and the neck's column at an anchor's cell that of pooled features",
        "mutual information is taken as the negative disparity, relative to the mean of the "
        "batch: of an absolute one, lambda's scale would hang on width and scale of the features",
        "m is the exact minimiser, which is 0 or 1, and a constant to the gradient",
        "the feature's distance is divided by the root of its width, for the same reason",
        "the heading's code by the sine of its difference: heads are trained up to half a turn",
        "64 proposals and an NMS overlap of 0.1 are choices of this port",
    )

    def __init__(
        self, student, teacher, *,
        proposals=64, overlap=0.1, tau=4.0, sparsity=0.1, feature_weight=0.2, head_weight=0.2,
        adapter="linear",
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.proposals, self.overlap, self.tau, self.sparsity = proposals, overlap, tau, sparsity
        self.feature_weight, self.head_weight = feature_weight, head_weight
        self.adapter = Adapter(student["neck"], teacher["neck"], adapter)

    def share_adapters(self):
        set_identity(self.adapter)

    def forward(self, student, teacher, batch):
        place = self._places(student, self.student_specs), self._places(teacher, self.teacher_specs)
        frame, row, column, anchor = torch.cat(place, dim=1)
        f_s, f_t = (taps["neck"][frame, :, row, column] for taps in (student, teacher))
        f_s = self.adapter(f_s[..., None, None])[..., 0, 0]
        f_t = self.adapter.target(f_t)
        kept = self._kept(f_s.detach(), f_t)
        self.logs["kept"] = kept.mean()
        feature = torch.linalg.vector_norm(f_s - f_t, dim=1) / f_t.shape[1] ** 0.5
        (p_s, b_s), (p_t, b_t) = (
            (taps["head.cls"][frame, row, column, anchor].sigmoid(),
             taps["head.box"][frame, row, column, anchor])
            for taps in (student, teacher)
        )  # fmt: skip
        head = (p_s - p_t).abs().sum(1) + code_difference(b_s, b_t).abs().sum(1)
        return {
            "feature": self.feature_weight * (kept * feature).mean(),
            "head": self.head_weight * (kept * head).mean(),
        }

    def _kept(self, f_s, f_t):
        """The weights m (p,) of pairs of features (p, C)."""
        log_s, log_t = (torch.log_softmax(f / self.tau, dim=1) for f in (f_s, f_t))
        disparity = (log_t.exp() * (log_t - log_s)).sum(1)
        return (disparity > self.sparsity * disparity.mean()).to(f_t.dtype)

    @torch.no_grad()
    def _places(self, taps, specs):
        """Frame, row, column and anchor (4, p) of a network's proposals."""
        scores = taps["head.cls"].sigmoid().amax(-1)
        boxes = specs["head.box"].decode(taps["head.box"]).flatten(1, 3)
        found = []
        for i, (frame_boxes, frame_scores) in enumerate(zip(boxes, scores.flatten(1), strict=True)):
            index = proposals(frame_boxes, frame_scores, self.proposals, self.overlap)
            within = torch.unravel_index(index, scores.shape[1:])
            found.append(torch.stack([torch.full_like(index, i), *within]))
        return torch.cat(found, dim=1)
