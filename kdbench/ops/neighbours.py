"""Nearest neighbours in feature space."""

import torch
from torch import Tensor

CHUNK = 1024  # query rows at a time: bounds the distance matrix to CHUNK x n


def nearest(queries: Tensor, rows: Tensor, k: int) -> Tensor:
    """Indices (q, k) of the `k` nearest `rows` (n, C) of each query (q, C), nearest first.

    Squared Euclidean distance, brute force: in 64 dimensions no tree is faster. With fewer than
    k rows the nearest one fills the places that are left.
    """
    found = min(k, len(rows))
    square = rows.square().sum(1)
    parts = []
    for chunk in queries.split(CHUNK):
        # |q - r|^2 = |q|^2 - 2 q r + |r|^2, and |q|^2 does not change the order.
        distance = torch.addmm(square, chunk, rows.T, alpha=-2)
        parts.append(distance.topk(found, dim=1, largest=False).indices)
    index = torch.cat(parts)
    if found < k:
        index = torch.cat([index, index[:, :1].expand(-1, k - found)], dim=1)
    return index
