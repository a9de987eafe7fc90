"""Adapters: learned 1x1 maps that bring a student's tap to the teacher's channel width."""

from torch import Tensor, nn

from kdbench.taps import Kind, Rows, TapSpec


class Adapter(nn.Module):
    """A 1x1 convolution (BEV maps) or the same as a linear layer (rows), with bias."""

    def __init__(self, student: TapSpec, teacher: TapSpec):
        super().__init__()
        make = _conv1x1 if student.kind is Kind.BEV else nn.Linear
        self.map = make(student.channels, teacher.channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_student, H, W) or (n, C_student) to the teacher's channels."""
        return self.map(x)


def _conv1x1(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1)


def features(tap: Tensor | Rows) -> Tensor:
    """The feature tensor of a tap: the map itself, or the features of its rows."""
    return tap.features if isinstance(tap, Rows) else tap


def set_identity(adapter: Adapter) -> None:
    """Makes an adapter between equal widths the identity."""
    nn.init.zeros_(adapter.map.bias)
    nn.init.dirac_(adapter.map.weight) if adapter.map.weight.dim() == 4 else nn.init.eye_(
        adapter.map.weight
    )
