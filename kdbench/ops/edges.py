"""What is needed of the edges of a graph, without ever holding them all.

A graph has n rows, m centres and k neighbours of each centre. Its m * k edges times the channels
are some hundred megabytes; everything here goes through them by chunks of centres.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Parts = tuple[Tensor, Tensor]
# Centres at a time. On the CPU edges of 128 neighbours and 32 channels then stay in the cache; on a
# device they are some 30 MB, and kernels are long enough.
CHUNK, DEVICE_CHUNK = 64, 2048


@dataclass(frozen=True)
class Graph:
    """Edges between rows: centre i has the neighbours `neighbours[i]`."""

    centre: Tensor  # (m,) int64 indices of rows
    neighbours: Tensor  # (m, k) int64 indices of rows
    rows: int  # n, how many rows there are

    @cached_property
    def counts(self) -> Tensor:
        """(n,), of how many edges each row is the neighbour."""
        return self.neighbours.flatten().bincount(minlength=self.rows)

    @cached_property
    def reverse(self) -> tuple[Tensor, Tensor]:
        """The place in `centre` of each edge (m * k,), by neighbour, and where a row's begin (n,).

        In the form that `embedding_bag` takes.
        """
        order = self.neighbours.flatten().sort(stable=True).indices
        return order // self.neighbours.shape[1], self.counts.cumsum(0) - self.counts


def neighbour_mean(values: Tensor, graph: Graph) -> Tensor:
    """Mean (m, c) of the values (n, c) of each centre's neighbours."""
    return _NeighbourMean.apply(values, graph)


class _NeighbourMean(Function):
    """With a derivative that goes along the reversed edges, many times faster than PyTorch's."""

    @staticmethod
    def forward(ctx, values: Tensor, graph: Graph) -> Tensor:
        ctx.graph = graph
        return F.embedding_bag(graph.neighbours, values, mode="mean")

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        edges, begin = ctx.graph.reverse
        share = gradient / ctx.graph.neighbours.shape[1]
        return F.embedding_bag(edges, share, begin, mode="sum"), None


def edge_moments(values: Tensor, own: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
    """Mean and variance (c,) over all edges of `values[j] + own[i]`.

    values (n, c), own (m, c). The variance, which is the biased one, is by the law of total
    variance that within the centres' neighbourhoods plus that between their means; the former
    needs only to know how often each row is a neighbour.
    """
    mean = neighbour_mean(values, graph)
    offset = mean.detach().mean(0)  # a smaller number to square: less is lost in rounding
    weight = graph.counts.to(values.dtype) / graph.neighbours.numel()
    within = weight @ (values - offset).square() - (mean - offset).square().mean(0)
    middle = mean + own
    return middle.mean(0), within.clamp_min(0) + middle.var(0, correction=0)


def first_edges(values: Tensor, own: Tensor, graph: Graph) -> Tensor:
    """Each centre's edge to its nearest neighbour, which is itself: (m, c)."""
    return torch.relu(values[graph.neighbours[:, 0]] + own)


def largest_edges(values: Tensor, own: Tensor, graph: Graph) -> Tensor:
    """Largest edge ReLU(values[j] + own[i]) of each centre, by channel: (m, c).

    ReLU and adding `own` do not change which neighbour is the largest.
    """
    return torch.relu(values.gather(0, _winners(values, graph.neighbours)) + own)


@torch.no_grad()
def _winners(values: Tensor, neighbours: Tensor) -> Tensor:
    """The neighbours (m, c) that hold the largest value."""
    chunks = _chunks(neighbours)
    return torch.cat([near.gather(1, _take(values, near).max(1).indices) for _, near in chunks])


def edge_errors(first: Parts, second: Parts, neighbours: Tensor) -> Tensor:
    """Mean squared difference (m,) of two sets of edges, over a centre's edges and channels.

    A set is given by values (n, c) and own (m, c) and has the edges ReLU(values[j] + own[i]);
    neighbours are (m, k).
    """
    return _EdgeErrors.apply(*first, *second, neighbours)


class _EdgeErrors(Function):
    """With a derivative that makes the edges again, in place of keeping them."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor, u: Tensor, v: Tensor, neighbours: Tensor) -> Tensor:
        ctx.save_for_backward(a, b, u, v, neighbours)
        errors = b.new_empty(len(neighbours))
        for at, near in _chunks(neighbours):
            difference = _edges(a, b[at], near).sub_(_edges(u, v[at], near))
            errors[at] = difference.square_().flatten(1).mean(1)
        return errors

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        a, b, u, v, neighbours = ctx.saved_tensors
        da, db, du, dv = (torch.zeros_like(x) for x in (a, b, u, v))
        factor = (2 / (neighbours.shape[1] * b.shape[1]) * gradient).view(-1, 1, 1)
        for at, near in _chunks(neighbours):
            left, right = _edges(a, b[at], near), _edges(u, v[at], near)
            slope = (left - right).mul_(factor[at])
            _add_slope(da, db[at], slope * (left > 0), near)
            _add_slope(du, dv[at], slope.neg_().mul_(right > 0), near)
        return da, db, du, dv, None


def _chunks(neighbours: Tensor):
    """Slices of the centres, and their neighbours."""
    size = CHUNK if neighbours.device.type == "cpu" else DEVICE_CHUNK
    for begin in range(0, len(neighbours), size):
        at = slice(begin, begin + size)
        yield at, neighbours[at]


def _take(values: Tensor, near: Tensor) -> Tensor:
    """`values[near]`; index_select is several times faster than indexing."""
    return values.index_select(0, near.flatten()).view(*near.shape, -1)


def _edges(values: Tensor, own: Tensor, near: Tensor) -> Tensor:
    return _take(values, near).add_(own.unsqueeze(1)).relu_()


def _add_slope(values: Tensor, own: Tensor, slope: Tensor, near: Tensor) -> None:
    """Adds the slope (chunk, k, c) of edges to that of what they were made from."""
    values.index_add_(0, near.flatten(), slope.flatten(0, 1))
    own.add_(slope.sum(1))
