"""CanKD: every cell of the student's map asks all of the teacher's, and adds what it hears.

    Z = r(F_S) + BN( W sum_j a_ij g(F_T)_j ),   a_ij = theta(r(F_S))_i . phi(F_T)_j / N
    5/2 mean( (n(Z) - n(F_T))^2 )

over the N positions j of the teacher's keys phi and values g, max-pooled by 2; theta, phi, g and W
are 1x1 convolutions by way of half the channels, r is a 1x1 adapter, and n standardises each
channel of a frame. BN begins with scale and shift 0, so that Z begins as r(F_S). All of them train
with the student.
"""

from math import inf

import torch
from torch import nn
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity


class CrossAttentionDistillation(Method):
    """Options: `pool`, the side in cells of what becomes one key (2), and `weight` (5)."""

    name = "cankd"
    neutral = {"adapter": "linear"}
    limits = {"pool": (1, inf)}
    needs = ("neck",)
    paper = Paper(
        "CanKD: Cross-Attention-based Non-local operation for Feature-based Knowledge Distillation",
        2026,
        "WACV 2026, arXiv 2511.21503",
    )
    zero_when_equal = True
    deviations = (
        "one map, the neck, in place of a pyramid's levels",
        "a 1x1 adapter brings the student to the teacher's channels, which are equal in the paper",
        "keys and values are multiplied first, which is the same without the memory of all weights",
    )

    def __init__(self, student, teacher, *, pool=2, weight=5.0, adapter="linear"):
        super().__init__(student, teacher)
        self.weight = weight
        self.adapter = Adapter(student["neck"], teacher["neck"], adapter)
        self.attention = CrossAttention(teacher["neck"].channels, pool)

    def share_adapters(self):
        set_identity(self.adapter)

    def forward(self, student, teacher, batch):
        heard = self.attention(self.adapter(student["neck"]), teacher["neck"])
        error = F.mse_loss(F.instance_norm(heard), F.instance_norm(teacher["neck"]))
        return {"attention": self.weight * error / 2}


class CrossAttention(nn.Module):
    """Adds to a map what it attends to in another of the same size: a non-local block, no softmax.

    Keys and values are max-pooled over squares of `pool` cells.
    """

    def __init__(self, channels: int, pool: int):
        super().__init__()
        inner = max(1, channels // 2)
        self.query, self.key, self.value = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.out = nn.Conv2d(inner, channels, 1)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)
        self.pool = pool

    def forward(self, x, y):
        """Maps (B, C, H, W) to one of that shape."""
        query = self.query(x)
        key, value = (F.max_pool2d(f(y), self.pool).flatten(2) for f in (self.key, self.value))
        # Q (K V) is (Q K) V, without its weights of all positions by all positions.
        summary = torch.einsum("bdn,ben->bde", key, value) / key.shape[2]
        heard = torch.einsum("bdhw,bde->behw", query, summary)
        return x + self.norm(self.out(heard))
