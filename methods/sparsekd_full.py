"""SparseKD in full: logits at pivotal positions, labels from the teacher, and its weights.

`sparsekd` gives the loss, `label-kd` the labels, `tgi` the initial weights; see there.
"""

from kdbench.method import Method
from kdbench.methods.label_kd import LabelKD
from kdbench.methods.sparsekd import SparseKD
from kdbench.methods.tgi import TeacherGuidedInitialisation


class SparseKDFull(Method):
    """Options: `variant`, `cls_weight` and `box_weight` of `sparsekd`, `scores` of `label-kd`."""

    name = "sparsekd-full"
    needs = SparseKD.needs
    paper = SparseKD.paper
    variants = SparseKD.variants
    same_detector = True
    zero_when_equal = True
    deviations = (
        *SparseKD.deviations,
        *LabelKD.deviations,
        *TeacherGuidedInitialisation.deviations,
        "pivotal positions are those of the extended labels, which the detection loss uses too",
    )

    def __init__(
        self, student, teacher, *,
        variant="positive", cls_weight=15.0, box_weight=0.2, scores=(0.6, 0.5, 0.5),
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.logits = SparseKD(
            student, teacher, variant=variant, cls_weight=cls_weight, box_weight=box_weight
        )
        self.labels = LabelKD(student, teacher, scores=scores)
        self.weights = TeacherGuidedInitialisation(student, teacher)
        self.logs = self.labels.logs

    def prepare_student(self, student, teacher):
        self.weights.prepare_student(student, teacher)

    def relabel(self, batch, teacher, taps):
        return self.labels.relabel(batch, teacher, taps)

    def forward(self, student, teacher, batch):
        return self.logits(student, teacher, batch)
