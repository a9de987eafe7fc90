"""BCKD: scores as binary problems, weighted by the gap; boxes where the scores differ most.

    cls = sum_a,c |p_T - p_S| BCE( p_S, p_T ) / N
    box = 4 sum_a max_c |p_T - p_S| sum_j smoothL1( code_S,aj - code_T,aj ) / N

over the anchors a of the batch, p = sigmoid(z), N = max(1, anchors that stand on an object). The
gap is a factor with a gradient in `cls`, as in quality focal loss, and a constant in `box`.
"""

from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.anchors import on_objects
from kdbench.ops.heads import box_distance


class BinaryClassificationDistillation(Method):
    """Options: `cls_weight` and `box_weight` (1 and 4, published), `iou` from which an anchor
    counts as on an object.
    """

    name = "bckd"
    limits = {"iou": (0, 1)}
    needs = ("head.cls", "head.box")
    paper = Paper(
        "Bridging Cross-task Protocol Inconsistency for Distillation in Dense Object Detection",
        2023,
        "ICCV 2023, arXiv 2308.14286",
    )
    zero_when_equal = True
    deviations = (
        "smooth L1 of codes, the heading's by the sine of its difference, in place of GIoU, which "
        "has no agreed form for rotated boxes",
        "N counts anchors by one IoU for all classes: what a head's taps tell",
        "a batch without objects is distilled too; the authors' code leaves such maps out",
    )

    def __init__(self, student, teacher, *, cls_weight=1.0, box_weight=4.0, iou=0.5):
        super().__init__(student, teacher)
        self.cls_weight, self.box_weight, self.iou = cls_weight, box_weight, iou

    def forward(self, student, teacher, batch):
        z_s, p_t = student["head.cls"], teacher["head.cls"].sigmoid()
        gap = (p_t - z_s.sigmoid()).abs()
        cls = gap * F.binary_cross_entropy_with_logits(z_s, p_t, reduction="none")
        distance = box_distance(student["head.box"], teacher["head.box"])
        box = gap.detach().amax(-1) * distance
        spec = self.teacher_specs["head.box"]
        objects = on_objects(teacher["head.box"], spec, batch.boxes, self.iou).sum().clamp(min=1)
        return {
            "cls": self.cls_weight * cls.sum() / objects,
            "box": self.box_weight * box.sum() / objects,
        }
