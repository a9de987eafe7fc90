"""Sparse convolution by spconv 2, an optional dependency: fast kernels for CUDA.

Its own layers run, with our weights in place of theirs. Their rows, which hashing leaves in no
certain order, are put into ours. On the CPU spconv computes forward, but has no backward pass,
and of several threads a row comes out wrong now and then.
"""

from functools import cache

import torch
from torch import Tensor
from torch.func import functional_call

from kdbench.ops import sparse_torch
from kdbench.ops.macs import counting, declared_macs
from kdbench.ops.sparse_rules import Size, site_keys
from kdbench.ops.sparse_tensor import SparseTensor


@cache
def available() -> bool:
    """Whether spconv is installed and built for CUDA."""
    try:
        from spconv.cppconstants import CPU_ONLY_BUILD
    except ImportError:
        return False
    return not CPU_ONLY_BUILD


def submanifold(x: SparseTensor, weight: Tensor) -> SparseTensor:
    """`SubMConv3d` with this weight."""
    if len(x.features) == 0:  # spconv refuses
        return sparse_torch.submanifold(x, weight)
    pairs = sparse_torch.known_submanifold_rules(x).pairs if counting() else 0
    layer = _layer("SubMConv3d", weight.shape, 1, 1)
    return x.with_features(_run(layer, x, weight, pairs).features)


def strided(x: SparseTensor, weight: Tensor, *sizes: Size) -> SparseTensor:
    """`SparseConv3d` with this kernel, stride and padding."""
    if len(x.features) == 0:
        return sparse_torch.strided(x, weight, *sizes)
    pairs = sparse_torch.known_strided_rules(x, *sizes)[0].pairs if counting() else 0
    out = _run(_layer("SparseConv3d", weight.shape, *sizes[1:]), x, weight, pairs)
    sites, shape = out.indices.long(), tuple(out.spatial_shape)
    order = torch.argsort(site_keys(sites, shape))
    return SparseTensor(out.features[order], sites[order], shape, x.frames)


def _run(layer, x: SparseTensor, weight: Tensor, pairs: int):
    """spconv's output; what it finds out about the cells is kept for the next layer."""
    from spconv.pytorch import SparseConvTensor

    tensor = SparseConvTensor(x.features, x.coordinates.int(), list(x.shape), x.frames)
    tensor.indice_dict = x.known.setdefault("spconv", {})
    with declared_macs(pairs * len(weight) * weight.shape[4]):
        out = functional_call(layer, {"weight": weight}, (tensor,))
    x.known["spconv"] = out.indice_dict
    return out


@cache
def _layer(kind: str, weight_shape: torch.Size, stride, padding):
    """A layer of spconv; its own weight is never used."""
    import spconv.pytorch

    outputs, *kernel, inputs = weight_shape
    # Only of submanifold layers does spconv take what another one found out.
    key = kind if kind == "SubMConv3d" else None
    layer = getattr(spconv.pytorch, kind)
    return layer(inputs, outputs, kernel, stride, padding, bias=False, indice_key=key)
