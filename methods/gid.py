"""GID: distils where teacher and student disagree most, whatever the labels say.

General instances of a frame: the boxes of the `k` anchors with the largest score gap
max_c |p_T - p_S|, each box from the network with the higher score, after NMS. On these

    feature   mean_i,cell sum_c ( r(f_S,i) - f_T,i )^2             f: pooled neck features
    relation  mean_i,j smooth_l1( d_T,ij / mean(d_T) - d_S,ij / mean(d_S) ),   i != j of a frame
    logit     mean_i sum_c KL( p_T,i || p_S,i ) + sum |code_T,i - code_S,i|

d_ij is the distance between the features of instances i and j; r is a 1x1 adapter.
"""

from math import inf

import torch
from torch.nn import functional as F

from kdbench.geometry.nms import rotated_nms
from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.ops.heads import binary_kl, code_difference
from kdbench.ops.regions import pool_boxes

CANDIDATES = 3000  # anchors that enter NMS, as in the authors' code


class GeneralInstanceDistillation(Method):
    """Options: `variant`, `k` instances a frame and the `nms` IoU (10, 0.3: the paper's), `size`
    of the pooled grid, and the weights `feature`, `relation` and `logit` (starting points).

    `feature` is known as GID-F (feature and relation), `logit` as GID-L.
    """

    name = "gid"
    neutral = {"adapter": "linear"}
    limits = {"k": (1, inf), "size": (1, inf)}
    needs = ("neck", "head.cls", "head.box")
    paper = Paper(
        "General Instance Distillation for Object Detection", 2021, "CVPR 2021, arXiv 2103.02340"
    )
    variants = ("all", "feature", "logit")
    zero_when_equal = True
    deviations = (
        "NMS is by the IoU of rotated boxes seen from above; the direction classifier, which "
        "this IoU does not see, is left out",
        "the logit part works on the chosen anchors themselves; the paper assigns anchors to the "
        "chosen boxes, by rules that differ from detector to detector",
        "binary KL in place of cross-entropy: same gradient, and 0 when both agree",
        "headings by the sine of their difference, as detection losses have them",
    )

    def __init__(
        self, student, teacher, *,
        variant="all", k=10, nms=0.3, size=7, feature=5e-4, relation=40.0, logit=1.0,
        adapter="linear",
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.variant, self.k, self.nms, self.size = variant, k, nms, size
        self.weights = {"feature": feature, "relation": relation, "logit": logit}
        if variant != "logit":
            self.adapter = Adapter(student["neck"], teacher["neck"], adapter)

    def share_adapters(self):
        if self.variant != "logit":
            set_identity(self.adapter)

    def forward(self, student, teacher, batch):
        anchors, boxes = self._general_instances(student, teacher)
        terms = {}
        if self.variant != "logit":
            f_s = self.adapter(self._pool(student, self.student_specs, boxes))
            f_t = self.adapter.target(self._pool(teacher, self.teacher_specs, boxes))
            terms["feature"] = (f_s - f_t).square().sum(1).mean()
            frames = [len(b) for b in boxes]
            pairs = zip(f_s.split(frames), f_t.split(frames), strict=True)
            terms["relation"] = sum(relation(*pair) for pair in pairs) / len(frames)
        if self.variant != "feature":
            terms["logit"] = self._logit(student, teacher, anchors)
        return {name: self.weights[name] * term for name, term in terms.items()}

    @torch.no_grad()
    def _general_instances(self, student, teacher):
        """Of each frame the chosen anchors (k,), as indices of all H * W * A, and boxes (k, 7)."""
        p_s, p_t = (taps["head.cls"].sigmoid().flatten(1, 3) for taps in (student, teacher))
        boxes_s, boxes_t = (
            specs["head.box"].decode(taps["head.box"]).flatten(1, 3)
            for specs, taps in ((self.student_specs, student), (self.teacher_specs, teacher))
        )
        gap = (p_t - p_s).abs().amax(-1)
        teacher_is_surer = (p_t.amax(-1) > p_s.amax(-1)).unsqueeze(-1)
        boxes = torch.where(teacher_is_surer, boxes_t, boxes_s)
        anchors = [self._most_different(*frame) for frame in zip(gap, boxes, strict=True)]
        return anchors, [b[index] for b, index in zip(boxes, anchors, strict=True)]

    def _most_different(self, gap, boxes):
        top = gap.topk(min(CANDIDATES, len(gap))).indices
        return top[rotated_nms(boxes[top], gap[top], self.nms, self.k)]

    def _pool(self, taps, specs, boxes):
        """Features of all instances of the batch, (M, C, size, size)."""
        return pool_boxes(taps["neck"], boxes, specs["neck"], self.size).movedim(-1, 1)

    def _logit(self, student, teacher, anchors):
        z_s, z_t, code_s, code_t = (
            torch.cat([x[i] for x, i in zip(taps[name].flatten(1, 3), anchors, strict=True)])
            for name in ("head.cls", "head.box")
            for taps in (student, teacher)
        )
        difference = code_difference(code_s, code_t).abs().sum()
        return (binary_kl(z_s, z_t).sum() + difference) / len(z_s)


def relation(f_s, f_t):
    """Smooth L1 between the normalised distances of instances (k, ...) of one frame."""
    pairs = max(1, len(f_s) * (len(f_s) - 1))
    d_s, d_t = (torch.cdist(f.flatten(1), f.flatten(1)) for f in (f_s, f_t))
    d_s, d_t = (d / (d.sum() / pairs).clamp(min=1e-6) for d in (d_s, d_t))
    return F.smooth_l1_loss(d_s, d_t, reduction="sum") / pairs
