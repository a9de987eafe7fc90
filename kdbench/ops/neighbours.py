"""Nearest neighbours in feature space."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# Query rows at a time, which bounds the distance matrix to that many times n: what a CPU's cache
# holds, and on a device what makes kernels long enough.
CHUNK, DEVICE_CHUNK = 128, 1024


@torch.no_grad()
def nearest(queries: Tensor, rows: Tensor, k: int) -> Tensor:
    """Indices (q, k) of the `k` nearest `rows` (n, C) of each query (q, C), nearest first.

    Squared Euclidean distance, brute force: in 64 dimensions no tree is faster. With fewer than
    k rows the nearest one fills the places that are left.
    """
    found = min(k, len(rows))
    depth = max(1, math.isqrt(len(rows) // max(found, 1)))  # makes both selections as long
    # |q - r|^2 = |q|^2 - 2 q r + |r|^2, and |q|^2 does not change the order.
    missing = -len(rows) % depth
    square = F.pad(rows.square().sum(1), (0, missing), value=math.inf)
    columns = F.pad(rows, (0, 0, 0, missing)).T.contiguous()
    # One place for all chunks: freed and allocated anew, they would scatter over the memory.
    size = CHUNK if queries.device.type == "cpu" else DEVICE_CHUNK
    distance = columns.new_empty(min(size, len(queries)), columns.shape[1])
    index = queries.new_empty((len(queries), k), dtype=torch.long)
    for begin in range(0, len(queries), size):
        chunk = queries[begin : begin + size]
        part = torch.addmm(square, chunk, columns, alpha=-2, out=distance[: len(chunk)])
        index[begin : begin + size, :found] = _smallest(part, found, depth)
    index[:, found:] = index[:, :1]
    return index


def _smallest(values: Tensor, k: int, depth: int) -> Tensor:
    """Indices (q, k) of the `k` smallest of each row of values (q, depth * groups), in order.

    Group g is the columns g, groups + g, 2 groups + g, ... The k smallest values are in the k
    groups of the smallest minima: a value elsewhere has k minima that are no larger. So it takes
    two short selections in place of a long one.
    """
    if depth == 1:
        return values.topk(k, dim=1, largest=False).indices
    values = values.view(len(values), depth, -1)
    groups = values.amin(1).topk(k, dim=1, largest=False, sorted=False).indices
    candidates = values.gather(2, groups.unsqueeze(1).expand(-1, depth, -1)).flatten(1)
    place = candidates.topk(k, dim=1, largest=False).indices
    return groups.gather(1, place % k) + place // k * values.shape[2]
