"""FGD: focal distillation of foreground and background apart, and global relations.

    foreground  alpha  sum_hw in boxes   S A^s A^c (F_T - r(F_S))^2     summed over channels
    background  beta   sum_hw elsewhere  S A^s A^c (F_T - r(F_S))^2
    attention   gamma  ( |A^s_T - A^s_S|_1 + |A^c_T - A^c_S|_1 )
    relation    lambda sum ( R_T(F_T) - R_S(r(F_S)) )^2

each divided by the frames of the batch. A^s = HW softmax_hw( mean_c |F| / T ) and
A^c = C softmax_c( mean_hw |F| / T ) are the teacher's attention; S gives every box, and the
background, the same sum 1; R is a global-context block, one for each network.
"""

import torch
from torch import nn

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.ops.regions import foreground


class FocalGlobalDistillation(Method):
    """Options: `temperature` T and the weights `alpha`, `beta`, `gamma`, `lambda_`.

    The defaults are those of the authors' code for one-stage detectors.
    """

    name = "fgd"
    neutral = {"adapter": "linear"}
    needs = ("neck",)
    paper = Paper(
        "Focal and Global Knowledge Distillation for Detectors", 2022, "CVPR 2022, arXiv 2111.11837"
    )
    zero_when_equal = True
    deviations = (
        "the student does not inherit the teacher's neck and head, which the authors' code does "
        "by default: the widths differ, and it would be a second method at work",
        "the area of a box is the number of cells it owns: boxes are rotated, and a pedestrian "
        "is smaller than a cell",
        "one map, the neck, in place of a pyramid's five",
    )

    def __init__(
        self, student, teacher, *,
        temperature=0.5, alpha=1e-3, beta=5e-4, gamma=5e-4, lambda_=5e-6, adapter="linear",
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.temperature = temperature
        self.alpha, self.beta, self.gamma, self.lambda_ = alpha, beta, gamma, lambda_
        self.adapter = Adapter(student["neck"], teacher["neck"], adapter)
        self.student_context = GlobalContext(teacher["neck"].channels)
        self.teacher_context = GlobalContext(teacher["neck"].channels)

    def share_adapters(self):
        set_identity(self.adapter)
        self.student_context.load_state_dict(self.teacher_context.state_dict())

    def forward(self, student, teacher, batch):
        f_s, f_t = self.adapter(student["neck"]), self.adapter.target(teacher["neck"])
        spatial_s, channel_s = attention(f_s, self.temperature)
        spatial_t, channel_t = attention(f_t, self.temperature)
        error = torch.einsum("bchw,bc->bhw", (f_t - f_s).square(), channel_t)
        in_box, scale = self._regions(batch.boxes, *f_t.shape[2:])
        focal = error * spatial_t * scale
        unlike = (spatial_t - spatial_s).abs().sum() + (channel_t - channel_s).abs().sum()
        context = (self.teacher_context(f_t) - self.student_context(f_s)).square().sum()
        terms = {
            "foreground": self.alpha * (focal * in_box).sum(),
            "background": self.beta * (focal * ~in_box).sum(),
            "attention": self.gamma * unlike,
            "relation": self.lambda_ * context,
        }
        return {name: term / len(f_t) for name, term in terms.items()}

    def _regions(self, boxes, height, width):
        """Which cells are in a box, (B, H, W) bool, and the scale S (B, H, W)."""
        # Of boxes that overlap the later owns a cell; the paper wants the smaller to.
        by_area = [b[(b[:, 3] * b[:, 4]).argsort(descending=True)] for b in boxes]
        owner = foreground(by_area, self.teacher_specs["neck"], height, width)
        return owner >= 0, torch.stack([_inverse_size(frame) for frame in owner])


class GlobalContext(nn.Module):
    """x + W2 ReLU(LN(W1 sum_j softmax_j(w x_j) x_j)) over the positions j (GCNet)."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(1, channels // 2)
        self.mask = nn.Conv2d(channels, 1, 1, bias=False)  # a bias would cancel in the softmax
        self.transform = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
        )
        nn.init.zeros_(self.transform[-1].weight)  # starts as the identity, as published
        nn.init.zeros_(self.transform[-1].bias)

    def forward(self, x):
        """(B, C, H, W) to the same shape."""
        share = self.mask(x).flatten(1).softmax(1)
        context = torch.einsum("bcn,bn->bc", x.flatten(2), share)
        return x + self.transform(context)[:, :, None, None]


def attention(x, temperature):
    """Spatial (B, H, W) and channel (B, C) attention of maps (B, C, H, W), each of mean 1."""
    strength = x.abs()
    spatial = (strength.mean(1) / temperature).flatten(1).softmax(1) * x[0, 0].numel()
    channel = (strength.mean((2, 3)) / temperature).softmax(1) * x.shape[1]
    return spatial.view_as(strength[:, 0]), channel


def _inverse_size(owner):
    """For each cell (H, W) one over the number of cells with the same owner."""
    _, region, size = owner.unique(return_inverse=True, return_counts=True)
    return 1 / size[region]
