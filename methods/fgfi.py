"""FGFI: the student imitates the teacher's map near objects.

    1 / (2 N) sum_h,w m_hw sum_c ( r(F_S) - F_T )^2,   N = sum_h,w m_hw

m_hw is 1 in the cells of which an anchor overlaps a ground-truth box by more than psi times the
largest overlap that this box has with any anchor. r is a 1x1 adapter.
"""

import torch

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.ops.anchors import near_objects


class FineGrainedImitation(Method):
    """Options: `psi`, what counts as near (0.5), and `weight` (0.01), both published."""

    name = "fgfi"
    neutral = {"adapter": "linear"}
    needs = ("neck", "head.box")
    paper = Paper(
        "Distilling Object Detectors with Fine-grained Feature Imitation", 2019, "CVPR 2019"
    )
    zero_when_equal = True
    deviations = (
        "overlap is the IoU seen from above of footprints turned to the nearest right angle, by "
        "which anchors are matched as well",
        "anchors of all classes count for every box: the paper's anchors have no class",
        "a head without anchors: the box itself, moved to the cell, takes the anchor's place",
        "the adapter is a 1x1 convolution, not 3x3: all methods here adapt alike",
    )

    def __init__(self, student, teacher, *, psi=0.5, weight=0.01, adapter="linear"):
        super().__init__(student, teacher)
        self.psi, self.weight = psi, weight
        self.adapter = Adapter(student["neck"], teacher["neck"], adapter)

    def share_adapters(self):
        set_identity(self.adapter)

    def forward(self, student, teacher, batch):
        near = self._near_objects(teacher["head.box"], batch.boxes)
        unlike = self.adapter(student["neck"]) - self.adapter.target(teacher["neck"])
        error = unlike.square().sum(1)
        loss = (error * near).sum() / (2 * near.sum().clamp(min=1))
        return {"imitation": self.weight * loss}

    @torch.no_grad()
    def _near_objects(self, codes, boxes):
        """The mask m, (B, H, W) bool."""
        return near_objects(codes, self.teacher_specs["head.box"], boxes, self.psi).any(-1)
