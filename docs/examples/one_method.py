"""A method in one file: the student's map before the head points where the teacher's does.

kdbench check cosine --plugin one_method.py
kdbench run --method cosine --plugin one_method.py --ratio 4
"""

from torch.nn import functional as F

from kdbench.method import Method
from kdbench.ops.adapters import Adapter


class Cosine(Method):
    """Options: `weight`, by `--set method.weight=2`."""

    name = "cosine"
    needs = ("neck",)

    def __init__(self, student, teacher, *, weight=1.0):
        super().__init__(student, teacher)
        self.adapter = Adapter(student["neck"], teacher["neck"])
        self.weight = weight

    def forward(self, student, teacher, batch):
        """1 less the cosine between both feature vectors (C,) of a cell, mean over cells."""
        alike = F.cosine_similarity(self.adapter(student["neck"]), teacher["neck"], dim=1)
        return {"cosine": self.weight * (1 - alike).mean()}
