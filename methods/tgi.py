"""TGI, teacher-guided initialisation: the student starts from a slice of the teacher.

    W_S[i, j, ...] = W_T[i, j, ...]     for all indices that the student has

Every tensor of the student, the statistics of its norms too, takes the first channels of the
teacher's. An output layer does not shrink, so only its inputs are sliced. A layer that reads the
concatenation of several branches (the upsampling neck's) takes the first channels of each.
"""

import torch
from torch import nn

from kdbench.method import Method, Paper


class TeacherGuidedInitialisation(Method):
    """No options."""

    name = "tgi"
    paper = Paper(
        "Towards Efficient 3D Object Detection with Knowledge Distillation",
        2022,
        "NeurIPS 2022, arXiv 2205.15156",
    )
    teaches_by_loss = False
    same_detector = True
    deviations = (
        "a concatenation is told by its width, as that of all branches of a `ModuleList` "
        "together: networks do not say what their layers read. Widths alone decide, so a layer "
        "and the ones that read it always keep the same channels",
        "tensors that the teacher lacks, or has smaller, keep their own initial values",
    )

    @torch.no_grad()
    def prepare_student(self, student, teacher):
        joined = concatenations(student, teacher)
        wide = teacher.state_dict()
        for name, value in student.state_dict().items():
            if name in wide and _fits(value, wide[name]):
                value.copy_(narrow(wide[name], value.shape, joined))

    def forward(self, student, teacher, batch):
        return {}


def concatenations(student, teacher):
    """{(width in the student, in the teacher): [the same pair of each branch]}."""
    found = {}
    for name, module in student.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) > 1:
            branches = zip(module, teacher.get_submodule(name), strict=True)
            widths = [(_width(thin), _width(wide)) for thin, wide in branches]
            found[tuple(map(sum, zip(*widths, strict=True)))] = widths
    return found


def narrow(x, shape, joined):
    """The part of a teacher's tensor that a student's of `shape` keeps."""
    for dim, size in enumerate(shape):
        if size < x.shape[dim]:
            widths = joined.get((size, x.shape[dim]), [(size, x.shape[dim])])
            blocks = x.split([wide for _, wide in widths], dim)
            kept = [b.narrow(dim, 0, thin) for b, (thin, _) in zip(blocks, widths, strict=True)]
            x = torch.cat(kept, dim)
    return x


def _width(branch):
    """Channels that a branch gives: those of its last norm or bias; 0 without parameters."""
    parameters = list(branch.parameters())
    return parameters[-1].shape[0] if parameters else 0


def _fits(thin, wide):
    return thin.dim() == wide.dim() and all(
        a <= b for a, b in zip(thin.shape, wide.shape, strict=True)
    )
