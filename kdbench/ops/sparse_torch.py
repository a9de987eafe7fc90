"""Sparse convolution by PyTorch's own operations: gather, multiply, scatter, offset by offset."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from kdbench.ops.macs import declared_macs
from kdbench.ops.sparse_rules import Rules, Size, strided_rules, submanifold_rules
from kdbench.ops.sparse_tensor import SparseTensor


def submanifold(x: SparseTensor, weight: Tensor) -> SparseTensor:
    """`SubMConv3d` with this weight."""
    return x.with_features(_convolve(x.features, weight, known_submanifold_rules(x)))


def strided(x: SparseTensor, weight: Tensor, *sizes: Size) -> SparseTensor:
    """`SparseConv3d` with this kernel, stride and padding."""
    rules, out = known_strided_rules(x, *sizes)
    return out.with_features(_convolve(x.features, weight, rules))


def known_submanifold_rules(x: SparseTensor) -> Rules:
    """The rules over the cells of `x`, worked out once."""
    if "submanifold" not in x.known:
        x.known["submanifold"] = submanifold_rules(x.coordinates, x.shape)
    return x.known["submanifold"]


def known_strided_rules(x: SparseTensor, *sizes: Size) -> tuple[Rules, SparseTensor]:
    """The rules from the cells of `x`, and an output without channels; worked out once."""
    if sizes not in x.known:
        rules, sites, shape = strided_rules(x.coordinates, x.shape, *sizes)
        empty = x.features.new_empty((len(sites), 0))
        x.known[sizes] = rules, replace(x, features=empty, coordinates=sites, shape=shape, known={})
    return x.known[sizes]


def _convolve(features: Tensor, weight: Tensor, rules: Rules) -> Tensor:
    macs = rules.pairs * len(weight) * features.shape[1]
    # In full precision: the sum over offsets is taken in the type of the rows.
    with declared_macs(macs), torch.autocast(features.device.type, enabled=False):
        return Convolve.apply(features.to(weight.dtype), weight, rules)


class Convolve(Function):
    """Rows (n, C) and weights (out, kz, ky, kx, C) to rows (`rules.rows`, out).

    With a derivative of its own: the rows gathered for each offset are not kept until then.
    """

    @staticmethod
    def forward(ctx, features: Tensor, weight: Tensor, rules: Rules) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.rules = rules
        matrices = weight.flatten(1, 3).permute(1, 2, 0)  # (offsets, C, out)
        if rules.identity is None:
            result = features.new_zeros((rules.rows, len(weight)))
        else:
            result = features @ matrices[rules.identity]
        for offset, inputs, outputs in rules.pieces:
            # No row twice in an offset, so the order within it does not matter to the sum.
            result.index_add_(0, outputs, features.index_select(0, inputs) @ matrices[offset])
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        features, weight = ctx.saved_tensors
        rules = ctx.rules
        for_rows, for_weight, _ = ctx.needs_input_grad
        matrices = weight.flatten(1, 3).transpose(0, 1)  # (offsets, out, C)
        d_matrices, d_rows = torch.zeros_like(matrices), torch.zeros_like(features)
        if rules.identity is not None:
            d_rows = gradient @ matrices[rules.identity]
            d_matrices[rules.identity] = gradient.T @ features
        for offset, inputs, outputs in rules.pieces:
            part = gradient.index_select(0, outputs)
            if for_rows:
                d_rows.index_add_(0, inputs, part @ matrices[offset])
            if for_weight:
                d_matrices[offset].addmm_(part.T, features.index_select(0, inputs))
        return d_rows, d_matrices.transpose(0, 1).reshape_as(weight), None
