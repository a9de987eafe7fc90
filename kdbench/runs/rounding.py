"""A teacher's matrices in float16, so that a published and a local teacher are the same bits.

Matrices are the tensors of two dimensions and more that are trained: weights of convolutions and
linear layers. Norms, biases, statistics and counters stay as they are: a running variance of 1e-8
would become 0.
"""

import torch
from torch import Tensor, nn

LEAST_DIMENSIONS = 2


@torch.no_grad()
def round_matrices(network: nn.Module) -> None:
    """Rounds each matrix to the nearest float16, in place; its type stays float32."""
    for parameter in network.parameters():
        if parameter.dim() >= LEAST_DIMENSIONS:
            parameter.copy_(parameter.half())


def packed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, float32 matrices as float16 if none of them loses anything by it."""
    matrices = {n: x.half() for n, x in tensors.items() if _is_matrix(x)}
    if any(not torch.equal(x.float(), tensors[n]) for n, x in matrices.items()):
        return tensors
    return tensors | matrices


def unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `packed`."""
    return {n: x.float() if x.dtype == torch.float16 else x for n, x in tensors.items()}


def _is_matrix(x: Tensor) -> bool:
    return x.dtype == torch.float32 and x.dim() >= LEAST_DIMENSIONS
