"""Adapters: learned 1x1 maps that bring a student's tap to the teacher's channel width.

Their forms ask how much of a lesson the adapter takes up, which goes when the training is done:

    linear      W x + b
    ensemble    mean of three ReLU(W_k x + b_k)                    PEFD (NeurIPS 2022)
    orthogonal  P x against layer-normalised features of the teacher, P^t P = I or P P^t = I,
                whichever has the rank, at every step              VkD (CVPR 2024, 2403.06213)

PEFD's cosine and VkD's smooth L1 are their losses: here a method keeps its own. VkD's whitening
for generative models is left out.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import orthogonal

from kdbench.errors import NotApplicable, UsageError
from kdbench.taps import Kind, Rows, TapSpec

MEMBERS = 3  # of an ensemble, as published


class Adapter(nn.Module):
    """A 1x1 convolution (BEV maps) or the same as a linear layer (rows), with bias; or a `form`.

    Raises UsageError for a form that there is not, NotApplicable for one that cannot give the
    teacher's values.
    """

    def __init__(self, student: TapSpec, teacher: TapSpec, form: str = "linear"):
        super().__init__()
        if form not in FORMS:
            raise UsageError(f"option adapter must be one of {', '.join(FORMS)}, not {form!r}")
        if form == "ensemble" and teacher.affine is not None:
            raise NotApplicable("adapter=ensemble is not applicable: its values come after a ReLU, "
                                "the teacher's map before one")  # fmt: skip
        self.map = FORMS[form](student.kind is Kind.BEV, student.channels, teacher.channels)
        self.normalises = form == "orthogonal"

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_student, H, W) or (n, C_student) to the teacher's channels."""
        return self.map(x)

    def target(self, y: Tensor) -> Tensor:
        """What the adapted features are to be, of the teacher's (B, C, H, W) or (n, C).

        For methods that compare them as they are; not where their scale or sign says something.
        """
        if not self.normalises:
            return y
        return F.layer_norm(y.movedim(1, -1), y.shape[1:2]).movedim(-1, 1)


def _linear(is_map: bool, inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 1) if is_map else nn.Linear(inputs, outputs)


class Ensemble(nn.ModuleList):
    """The mean of several linear maps, each with a ReLU."""

    def __init__(self, is_map: bool, inputs: int, outputs: int):
        super().__init__(_linear(is_map, inputs, outputs) for _ in range(MEMBERS))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.new_zeros(())
        for count, member in enumerate(self, 1):
            mean = mean + (member(x).relu() - mean) / count  # exact where all agree
        return mean


class Orthogonal(nn.Module):
    """A linear map without bias whose matrix (outputs, inputs) is orthogonal, or part of one."""

    def __init__(self, is_map: bool, inputs: int, outputs: int):
        super().__init__()
        layer = nn.Linear(inputs, outputs, bias=False)
        # PyTorch's default where the widths differ, Householder, keeps signs in its parameters:
        # weight decay moves them below 1, where they count as 0.
        self.layer = orthogonal(layer, orthogonal_map="cayley")
        self.is_map = is_map

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.layer.weight[:, :, None, None]) if self.is_map else self.layer(x)


FORMS = {"linear": _linear, "ensemble": Ensemble, "orthogonal": Orthogonal}


def features(tap: Tensor | Rows) -> Tensor:
    """The feature tensor of a tap: the map itself, or the features of its rows."""
    return tap.features if isinstance(tap, Rows) else tap


def set_identity(adapter: Adapter) -> None:
    """Makes an adapter between equal widths the identity, of what comes after a ReLU."""
    if isinstance(adapter.map, Orthogonal):
        weight = adapter.map.layer.weight
        adapter.map.layer.weight = torch.eye(len(weight)).to(weight)
        adapter.normalises = False
        return
    for layer in adapter.map if isinstance(adapter.map, Ensemble) else [adapter.map]:
        nn.init.zeros_(layer.bias)
        nn.init.dirac_(layer.weight) if layer.weight.dim() == 4 else nn.init.eye_(layer.weight)
