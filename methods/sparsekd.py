"""SparseKD: logits are distilled at pivotal positions only, where objects are.

    cls = 15  sum_a m_a sum_c ( p_S,ac - p_T,ac )^2 / sum_a m_a,           p = sigmoid(z)
    box = 0.2 sum_a m_a sum_j smoothL1( code_S,aj - code_T,aj ) / sum_a m_a

over anchors a (B, H, W, A) of the batch. The mask m, by variant:

    positive     1 at anchors that stand on a ground-truth box
    confidence   1 where the teacher's best class score exceeds `score`
    rank         1 at the `rank` anchors of each frame that the teacher scores highest
    gaussian     max over boxes of exp(-d^2 / (2 sigma^2)), times the teacher's best class score;
                 d from the box's centre to the cell's, 3 sigma = the box's half diagonal
"""

import torch

from kdbench.method import Method, Paper
from kdbench.ops.anchors import on_objects
from kdbench.ops.heads import box_distance
from kdbench.ops.regions import centre_heat

EPSILON = 1e-6  # keeps an empty mask from dividing by 0


class SparseKD(Method):
    """Options: `variant` (the mask), `cls_weight`, `box_weight`; of the masks: `iou` from which
    an anchor stands on a box, `score`, and `rank`.
    """

    name = "sparsekd"
    needs = ("head.cls", "head.box")
    paper = Paper(
        "Towards Efficient 3D Object Detection with Knowledge Distillation",
        2022,
        "NeurIPS 2022, arXiv 2205.15156",
    )
    variants = ("positive", "confidence", "rank", "gaussian")
    zero_when_equal = True
    deviations = (
        "positive anchors by default: the paper's masks are for the heatmaps of centre heads, "
        "this is its authors' advice for anchor heads, with the weights 15 and 0.2",
        "an anchor is positive from one IoU for all classes, as a head's taps do not tell the "
        "classes of its anchors; their sizes keep classes apart",
        "a head without anchors: the box itself, moved to the cell, takes the anchor's place; for "
        "such heads `gaussian` is the paper's mask",
        "the heading's code by the sine of its difference: heads are trained up to half a turn",
        "gaussian: the spread follows the box, at least one cell; a radius counted in cells of "
        "the heatmap would change with the resolution of the map",
        "score 0.3 and rank 100 are choices of this port",
    )

    def __init__(
        self, student, teacher, *,
        variant="positive", cls_weight=15.0, box_weight=0.2, iou=0.5, score=0.3, rank=100,
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.variant, self.iou, self.score, self.rank = variant, iou, score, rank
        self.cls_weight, self.box_weight = cls_weight, box_weight

    def forward(self, student, teacher, batch):
        mask = self._mask(teacher, batch)
        total = mask.sum().clamp(min=EPSILON)
        on = mask.nonzero(as_tuple=True)  # the positions are few, and only they are computed
        mask = mask[on]
        cls_s, cls_t = (taps["head.cls"][on].sigmoid() for taps in (student, teacher))
        box = box_distance(student["head.box"][on], teacher["head.box"][on])
        return {
            "cls": self.cls_weight * (mask * (cls_s - cls_t).square().sum(-1)).sum() / total,
            "box": self.box_weight * (mask * box).sum() / total,
        }

    @torch.no_grad()
    def _mask(self, teacher, batch):
        """Weights (B, H, W, A) of the anchors."""
        score, spec = teacher["head.cls"].sigmoid().amax(-1), self.teacher_specs["head.box"]
        if self.variant == "positive":
            on = on_objects(teacher["head.box"], spec, batch.boxes, self.iou)
            return on.to(score.dtype)
        if self.variant == "confidence":
            return (score > self.score).to(score.dtype)
        if self.variant == "rank":
            flat = score.flatten(1)
            top = flat.topk(min(self.rank, flat.shape[1])).indices
            return torch.zeros_like(flat).scatter(1, top, 1.0).view_as(score)
        return score * centre_heat(batch.boxes, spec, *score.shape[1:3]).unsqueeze(-1)
