"""CrossKD: the student's features go through the teacher's frozen head.

    x = r(f_S), standardised by its own mean and deviation a channel, given those of f_T
    (z', b') = H_T(x)
    cls = sum_a,c |p_T - p'|^beta BCE( p', p_T ) / N
    box = sum_a max_c p_T sum_j smoothL1( b'_aj - b_T,aj ) / N

over the anchors a of the batch, f the necks, r a 1x1 adapter, H_T the teacher's head,
p = sigmoid(z) and N = max(1, anchors that stand on an object). Means and deviations are those of a
batch. What the student learns reaches it through H_T alone: its own head hears the labels only.
"""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from kdbench.errors import NotApplicable, UsageError
from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter
from kdbench.ops.anchors import on_objects
from kdbench.ops.heads import box_distance

EPSILON = 1e-6  # keeps channels that are constant from dividing by 0


class CrossKD(Method):
    """Options: `cls_weight` and `box_weight` (1, published), `beta` of the gap of scores (1),
    `iou` from which an anchor counts as on an object; `head`: `teacher`, or `random` for a control,
    a frozen head whose weights are the teacher's in a random order.
    """

    name = "crosskd"
    neutral = {"adapter": "linear"}
    limits = {"iou": (0, 1), "beta": (0, 10)}
    needs = ("neck", "head.cls", "head.box")
    paper = Paper(
        "CrossKD: Cross-Head Knowledge Distillation for Object Detection",
        2024,
        "CVPR 2024, arXiv 2306.11369",
    )
    deviations = (
        "enters the teacher's head at its first layer: heads here have one (anchors) or two "
        "(centres), not four; with a head of one 1x1 convolution the adapter and it are together "
        "one linear head more",
        "a 1x1 adapter brings the student to the teacher's channels, which are equal in the paper",
        "smooth L1 of codes, the heading's by the sine of its difference, in place of GIoU",
        "N counts anchors by one IoU for all classes, and none is ignored: what taps tell",
    )

    def __init__(
        self, student, teacher, *,
        cls_weight=1.0, box_weight=1.0, beta=1.0, iou=0.5, head="teacher", adapter="linear",
    ):  # fmt: skip
        super().__init__(student, teacher)
        if teacher["neck"].apply is None:
            raise NotApplicable("method 'crosskd': the teacher's neck has no `apply`")
        if head not in ("teacher", "random"):
            raise UsageError(f"method 'crosskd': head must be teacher or random, not {head!r}")
        self.cls_weight, self.box_weight = cls_weight, box_weight
        self.beta, self.iou = beta, iou
        self.adapter = Adapter(student["neck"], teacher["neck"], adapter)
        apply = teacher["neck"].apply
        self.apply_head = shuffled(apply) if head == "random" else apply

    def forward(self, student, teacher, batch):
        aligned = restandardised(self.adapter(student["neck"]), teacher["neck"])
        crossed = self.apply_head(aligned)
        p_t, z = teacher["head.cls"].sigmoid(), crossed["cls"]
        gap = (p_t - z.sigmoid()).abs() ** self.beta
        cls = gap * F.binary_cross_entropy_with_logits(z, p_t, reduction="none")
        box = p_t.amax(-1) * box_distance(crossed["box"], teacher["head.box"])
        spec = self.teacher_specs["head.box"]
        objects = on_objects(teacher["head.box"], spec, batch.boxes, self.iou).sum().clamp(min=1)
        return {
            "cls": self.cls_weight * cls.sum() / objects,
            "box": self.box_weight * box.sum() / objects,
        }


def restandardised(x, like):
    """Maps x (B, C, H, W) with the mean and deviation that each channel of `like` has."""
    own, other = (torch.std_mean(m, dim=(0, 2, 3), keepdim=True) for m in (x, like))
    return (x - own[1]) / (own[0] + EPSILON) * other[0] + other[1]


@torch.no_grad()
def shuffled(apply):
    """A copy of a frozen network's method `apply` whose weights lie in a random order.

    Each tensor keeps its values, so their scale is that of the trained one. Biases and norms stay.
    """
    apply = copy.deepcopy(apply)
    for layer in apply.__self__.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            values = layer.weight.flatten()
            order = torch.randperm(len(values)).to(values.device)
            layer.weight.copy_(values[order].view_as(layer.weight))
    return apply
