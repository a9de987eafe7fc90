"""CRD: of all objects in the batch, the student's embedding tells which one the teacher saw.

    - mean_i log softmax_j( s_i . t_j / T )_i,   s = W_S e_S / |W_S e_S|,   t alike

e (M, C) are the neck's features inside each labelled box, their mean. W_S and W_T project both
to one width and train with the student. Box i of the teacher is the positive of box i of the
student; the other boxes of the batch are its negatives.
"""

import torch
from torch import nn
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.embeddings import embed_boxes


class ContrastiveRepresentation(Method):
    """Options: `channels` of the projections, `temperature`, `weight`.

    128, 0.07 and 0.8 are the authors' (their paper and code).
    """

    name = "crd"
    needs = ("neck",)
    paper = Paper("Contrastive Representation Distillation", 2020, "ICLR 2020, arXiv 1910.10699")
    deviations = (
        "an instance is a labelled box, not an image: the paper classifies images",
        "negatives are the other boxes of the batch, of any class, in place of a memory of 16384 "
        "embeddings: boxes of augmented frames have no lasting index",
        "InfoNCE in place of the paper's NCE, whose many negatives a batch does not have",
        "the student's embeddings look for the teacher's; the authors' code adds the reverse",
    )

    def __init__(self, student, teacher, *, channels=128, temperature=0.07, weight=0.8):
        super().__init__(student, teacher)
        self.student_projection = nn.Linear(student["neck"].channels, channels)
        self.teacher_projection = nn.Linear(teacher["neck"].channels, channels)
        self.temperature, self.weight = temperature, weight

    def forward(self, student, teacher, batch):
        e_s = embed_boxes(student["neck"], batch.boxes, self.student_specs["neck"])
        e_t = embed_boxes(teacher["neck"], batch.boxes, self.teacher_specs["neck"])
        if len(e_s) < 2:  # nothing to tell apart
            return {"contrast": student["neck"].sum() * 0.0}
        s = F.normalize(self.student_projection(e_s), dim=1)
        t = F.normalize(self.teacher_projection(e_t), dim=1)
        itself = torch.arange(len(s), device=s.device)
        return {"contrast": self.weight * F.cross_entropy(s @ t.T / self.temperature, itself)}
