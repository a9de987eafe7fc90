"""Mimic: inside the objects, the student's map imitates the teacher's.

    1 / (2 M) sum_i mean( (r(u_S,i) - u_T,i)^2 )

over the M ground-truth boxes of the batch. u_i are the neck's features on a grid of size x size
points in box i, turned with it; r is a 1x1 adapter, trained with the student.
"""

from math import inf

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter, set_identity
from kdbench.ops.regions import pool_boxes


class Mimic(Method):
    """Options: `size` of the grid and `weight`, both as in SparseKD's port to LiDAR (7, 0.1)."""

    name = "mimic"
    neutral = {"adapter": "linear"}
    limits = {"size": (1, inf)}
    needs = ("neck",)
    paper = Paper("Mimicking Very Efficient Network for Object Detection", 2017, "CVPR 2017")
    zero_when_equal = True
    deviations = (
        "features are pooled in ground-truth boxes, as in SparseKD: single-stage detectors have "
        "no proposals",
        "the grid turns with the box; boxes in images are upright",
        "trained in one stage; the paper fine-tunes a second time",
    )

    def __init__(self, student, teacher, *, size=7, weight=0.1, adapter="linear"):
        super().__init__(student, teacher)
        self.size, self.weight = size, weight
        self.adapter = Adapter(student["neck"], teacher["neck"], adapter)

    def share_adapters(self):
        set_identity(self.adapter)

    def forward(self, student, teacher, batch):
        # Pooling is linear, so the adapter may come after it, where there is less to adapt.
        pooled_s = self.adapter(self._pool(student, self.student_specs, batch))
        pooled_t = self.adapter.target(self._pool(teacher, self.teacher_specs, batch))
        error = (pooled_s - pooled_t).square().sum() / max(1, pooled_t.numel())
        return {"mimic": self.weight * error / 2}

    def _pool(self, taps, specs, batch):
        """Features in all boxes of the batch, (M, C, size, size)."""
        return pool_boxes(taps["neck"], batch.boxes, specs["neck"], self.size).movedim(-1, 1)
