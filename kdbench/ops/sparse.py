"""Sparse 3D convolutions over the occupied cells of a grid.

Two backends compute the same from the same weights: PyTorch's own operations (`sparse_torch`),
on any device, and spconv's kernels (`sparse_spconv`), for CUDA tensors where that library is
installed. `use_backend` forces one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from kdbench.errors import UsageError
from kdbench.ops import sparse_spconv, sparse_torch
from kdbench.ops.sparse_rules import Size
from kdbench.ops.sparse_tensor import SparseTensor

BACKENDS = {"torch": sparse_torch, "spconv": sparse_spconv}
_forced: list[str] = []


class SubMConv3d(nn.Module):
    """Submanifold 3x3x3 convolution without bias: outputs at the input's cells and no others.

    `weight` is (outputs, kz, ky, kx, inputs), as in spconv 2.
    """

    counts_activations = True  # for `kdbench.measure`

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = _new_weight(outputs, (3, 3, 3), inputs)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Rows of `outputs` channels at the cells of `x`."""
        return _backend(x).submanifold(x, self.weight)


class SparseConv3d(nn.Module):
    """Convolution without bias, active at every cell from which the kernel meets an active one.

    `kernel`, `stride` and `padding` are along z, y and x; `weight` as in `SubMConv3d`.
    """

    counts_activations = True  # for `kdbench.measure`

    def __init__(self, inputs: int, outputs: int, kernel: Size, stride: Size, padding: Size):
        super().__init__()
        self.sizes = (kernel, stride, padding)
        self.weight = _new_weight(outputs, kernel, inputs)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Rows of `outputs` channels at the cells it reaches, in a grid of its own."""
        return _backend(x).strided(x, self.weight, *self.sizes)


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Computes everything inside with the backend `name`, wherever the tensors are."""
    if name not in BACKENDS:
        raise UsageError(f"sparse convolution has no backend {name!r}: {', '.join(BACKENDS)}")
    _forced.append(name)
    try:
        yield
    finally:
        _forced.pop()


def _backend(x: SparseTensor):
    if _forced:
        return BACKENDS[_forced[-1]]
    return sparse_spconv if x.features.is_cuda and sparse_spconv.available() else sparse_torch


def _new_weight(outputs: int, kernel: Size, inputs: int) -> nn.Parameter:
    weight = torch.empty(outputs, *kernel, inputs)
    return nn.Parameter(nn.init.kaiming_uniform_(weight, a=5**0.5))  # as PyTorch's convolutions
