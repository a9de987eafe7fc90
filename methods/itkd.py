"""itKD, interchange transfer: both neck maps pass one autoencoder and trade their codes.

With E and D the shared encoder and decoder (1x1, channels only), b a 1x1 layer that widens the
student's map, F_S = b(neck_S), F_T = neck_T, and codes Z = E(F):

    interchange = l(D(Z_T), F_S) + l(D(Z_S), F_T)            mean over channels and cells
    compressed  = l(Z_S, Z_T)                                at the cells of object centres
    relation    = sum over X of l(A(X_S), A(X_T)),           A(X) = softmax(X X^t / sqrt d) X

l is smooth L1. Row o of X describes object o of a frame: class scores (intra), box codes (intra),
or both side by side (inter), read at its centre, at the anchor where the teacher scores highest.
"""

from math import inf

import torch
from torch import nn
from torch.nn import functional as F

from kdbench.method import Method, Paper
from kdbench.ops.adapters import Adapter
from kdbench.ops.constants import constant
from kdbench.ops.rows import by_frame


class InterchangeTransfer(Method):
    """Options: `widths` of the encoder's layers, and the weights `interchange`, `compressed` and
    `relation`.
    """

    name = "itkd"
    neutral = {"adapter": "linear"}
    limits = {"widths": (1, inf)}
    needs = ("neck", "head.cls", "head.box")
    paper = Paper(
        "itKD: Interchange Transfer-based Knowledge Distillation for 3D Object Detection",
        2023,
        "CVPR 2023, arXiv 2205.15531",
    )
    deviations = (
        "attention has no learned maps: head outputs have equal widths in both networks, and "
        "what is learned beside them can shrink the loss without the student",
        "anchor heads: an object is read at one anchor of its centre's cell, the one the teacher "
        "is surest of; what the others say of it was never trained",
        "smooth L1 throughout, all weights 1, no norm in the autoencoder: choices of this port",
    )

    def __init__(
        self, student, teacher, *,
        widths=(128, 64, 32), interchange=1.0, compressed=1.0, relation=1.0, adapter="linear",
    ):  # fmt: skip
        super().__init__(student, teacher)
        self.weights = {
            "interchange": interchange, "compressed": compressed, "relation": relation,
        }  # fmt: skip
        self.widen = Adapter(student["neck"], teacher["neck"], adapter)
        sizes = [teacher["neck"].channels, *widths]
        self.encoder, self.decoder = stack(sizes), stack(sizes[::-1])

    def forward(self, student, teacher, batch):
        f_s, f_t = self.widen(student["neck"]), self.widen.target(teacher["neck"])
        z_s, z_t = self.encoder(f_s), self.encoder(f_t)
        swapped = F.smooth_l1_loss(self.decoder(z_t), f_s) + F.smooth_l1_loss(
            self.decoder(z_s), f_t
        )
        spec, size = self.teacher_specs["neck"], f_t.shape[2:]
        frame, row, column = centre_cells(batch.boxes, spec, *size)
        codes = (z[frame, :, row, column] for z in (z_s, z_t))
        terms = {
            "interchange": swapped,
            "compressed": _mean(*codes),
            "relation": relation(student, teacher, frame, row, column),
        }
        return {name: self.weights[name] * term for name, term in terms.items()}


def stack(sizes):
    """1x1 convolutions between these widths, ReLU between two."""
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Conv2d(inputs, outputs, 1), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def centre_cells(boxes, spec, height, width):
    """Frame, row and column (3, o) of the cells with a box's centre; boxes off the map go."""
    frame = torch.cat([torch.full_like(b[:, 0], i).long() for i, b in enumerate(boxes)])
    centres = torch.cat(boxes)[:, :2]
    column, row = ((centres - constant(spec.origin, centres)) / spec.cell).floor().long().T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return torch.stack([frame, row, column])[:, inside]


def relation(student, teacher, frame, row, column):
    """The difference of what the objects of each frame attend to, mean over frames with any."""
    anchor = teacher["head.cls"][frame, row, column].amax(-1).argmax(-1)
    objects = [_objects(taps, frame, row, column, anchor) for taps in (student, teacher)]
    total, frames = 0.0, by_frame(frame)
    for rows in frames:
        for x_s, x_t in zip(*objects, strict=True):
            total = total + F.smooth_l1_loss(attend(x_s[rows]), attend(x_t[rows]))
    return total / len(frames) if frames else student["head.cls"].sum() * 0.0


def _objects(taps, frame, row, column, anchor):
    """Descriptions of objects (o, d): class scores, box codes, both."""
    cls = taps["head.cls"][frame, row, column, anchor].sigmoid()
    box = taps["head.box"][frame, row, column, anchor]
    return cls, box, torch.cat([cls, box], dim=1)


def attend(x):
    """Self-attention of rows (o, d), with the rows themselves as queries, keys and values."""
    return torch.softmax(x @ x.T / x.shape[1] ** 0.5, dim=1) @ x


def _mean(x, y):
    """Mean smooth L1; 0 where there is no element."""
    return F.smooth_l1_loss(x, y, reduction="sum") / max(1, x.numel())
