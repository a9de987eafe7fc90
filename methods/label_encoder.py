"""Control: what a map of the labels teaches, where the teacher's map would be.

    stage     detection loss of H_T( e(Y) )            e learns, the teacher's head H_T does not
    feature   w mean_i | r(f_S,i) - e(Y)_i |^2         over cells i inside of boxes

Y are the labels drawn on the neck's map: class, offset of the cell to the box's centre, height,
size and heading. What remains of the teacher is its head, through which e learned; what a method
that imitates the neck gains beyond this comes from the teacher's features.
"""

import torch
from torch import nn

from kdbench.errors import NotApplicable
from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter
from kdbench.ops.regions import cell_centres, foreground

BOX_VALUES = 8  # offset x, y; z; logarithms of three sizes; sine, cosine


class LabelEncoder(Method):
    """Options: `weight` (0.3, published), `width` of the encoder's hidden layer, `stage_steps` of
    its training.
    """

    name = "label-encoder"
    neutral = {"adapter": "linear"}
    needs = ("neck",)
    limits = {"stage_steps": (1, 1e6), "width": (1, 4096)}
    same_detector = True  # its loss trains the encoder
    paper = Paper(
        "LabelDistill: Label-guided Cross-modal Knowledge Distillation for Camera-based 3D Object "
        "Detection",
        2024,
        "ECCV 2024, arXiv 2407.10164",
    )
    deviations = (
        "a control: the teacher's own map, the other target of the paper, is left out",
        "the encoder draws on the neck's map and learns through the head alone, not through neck "
        "and head",
    )

    def __init__(
        self, student, teacher, *, weight=0.3, width=64, stage_steps=1000, adapter="linear"
    ):
        super().__init__(student, teacher)
        if teacher["neck"].apply is None:
            raise NotApplicable("method 'label-encoder': the teacher's neck has no `apply`")
        self.weight, self.stage_steps = weight, stage_steps
        self.classes = teacher["head.cls"].channels
        self.encoder = nn.Sequential(
            nn.Conv2d(self.classes + BOX_VALUES, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, teacher["neck"].channels, 3, padding=1),
        )
        self.adapter = Adapter(student["neck"], teacher["neck"], adapter)

    def stage_modules(self):
        return [self.encoder]

    def stage_loss(self, teacher, taps, batch):
        drawn, _ = self._drawn(taps["neck"], batch)
        heads = self.teacher_specs["neck"].apply(self.encoder(drawn))
        return teacher.loss({f"head.{name}": value for name, value in heads.items()}, batch)

    def forward(self, student, teacher, batch):
        drawn, inside = self._drawn(teacher["neck"], batch)
        with torch.no_grad():
            target = self.adapter.target(self.encoder(drawn))
        error = (self.adapter(student["neck"]) - target).square().mean(1)
        return {"feature": self.weight * (error * inside).sum() / inside.sum().clamp(min=1)}

    def _drawn(self, like, batch):
        """The labels on a map (B, classes + BOX_VALUES, H, W) such as `like`, and (B, H, W) bool
        where there are any.
        """
        spec, (height, width) = self.teacher_specs["neck"], like.shape[2:]
        index = foreground(batch.boxes, spec, height, width)
        centres = cell_centres(spec, height, width, like.device)
        maps = [
            self._frame(*frame, centres)
            for frame in zip(index, batch.boxes, batch.labels, strict=True)
        ]
        return torch.stack(maps).permute(0, 3, 1, 2).to(like), index >= 0

    def _frame(self, index, boxes, labels, centres):
        """One frame's map (H, W, values) of its boxes (m, 7), `index` (H, W) of each cell."""
        drawn = centres.new_zeros(*index.shape, self.classes + BOX_VALUES)
        on = index >= 0
        box = boxes[index[on]]
        onehot = nn.functional.one_hot(labels[index[on]], self.classes)
        offset, yaw = box[:, :2] - centres[on], box[:, 6:]
        values = [onehot, offset, box[:, 2:3], box[:, 3:6].log(), yaw.sin(), yaw.cos()]
        drawn[on] = torch.cat(values, dim=1)
        return drawn
