"""Rulebooks of sparse convolutions: which input row meets which output row at which offset.

As in SECOND (Yan et al., Sensors 2018, section 3.1), but found by sorting and searching integer
keys in place of hashing: a few tensor operations on any device, and always the same order of
rows. Sites are (n, 4) int64 coordinates `frame, z, y, x`, sorted and unique.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from kdbench.ops.constants import constant

Size = tuple[int, int, int]  # along z, y and x
BLOCK = 8192  # output rows at a time: with 64 channels the rows at hand are about 2 MB


@dataclass(frozen=True)
class Rules:
    """The active pairs of a convolution, offset by offset.

    Within one offset the rows of the output rise, and those of the input too.
    """

    inputs: Tensor  # (pairs,) int64: rows of the input, those of the first offset first
    outputs: Tensor  # (pairs,) int64: the rows of the output that they go to
    counts: tuple[int, ...]  # pairs of each offset of the kernel, z-major
    rows: int  # output rows
    # The offset at which every row meets itself; its pairs are not listed.
    identity: int | None = None

    @property
    def pairs(self) -> int:
        """Active pairs, the identity's included."""
        return len(self.inputs) + (self.rows if self.identity is not None else 0)

    @cached_property
    def pieces(self) -> list[tuple[int, Tensor, Tensor]]:
        """The listed pairs in pieces of one offset each: the offset, input rows, output rows.

        On the CPU they go through the output block by block, so that its rows stay in the cache
        while all offsets add to them.
        """
        edges = range(BLOCK, self.rows, BLOCK) if self.outputs.device.type == "cpu" else ()
        offsets = zip(self.inputs.split(self.counts), self.outputs.split(self.counts), strict=True)
        blocks = zip(*(_cut(*pairs, edges) for pairs in offsets), strict=True)
        return [(i, *pairs) for block in blocks for i, pairs in enumerate(block) if len(pairs[0])]


def _cut(inputs: Tensor, outputs: Tensor, edges) -> Iterator[tuple[Tensor, Tensor]]:
    """The pairs of one offset in parts: the output rows before each of `edges`, and the rest."""
    cuts = torch.searchsorted(outputs, outputs.new_tensor(edges)).tolist() if edges else []
    return zip(inputs.tensor_split(cuts), outputs.tensor_split(cuts), strict=True)


def submanifold_rules(sites: Tensor, shape: Size) -> Rules:
    """Rules of a 3x3x3 convolution whose output sites are its input sites.

    Graham et al., "3D Semantic Segmentation with Submanifold Sparse Convolutional Networks",
    CVPR 2018. Only neighbours that come later in the order of sites are looked for: a pair
    serves the opposite offset too. The opposite of offset i is 26 - i, and 13 is the identity.
    """
    earlier, later = zip(*_neighbours(sites, shape), strict=True)
    inputs = torch.cat([*reversed(earlier), *later])
    outputs = torch.cat([*reversed(later), *earlier])
    counts = [len(rows) for rows in later]
    return Rules(inputs, outputs, (*reversed(counts), 0, *counts), len(sites), identity=13)


def _neighbours(sites: Tensor, shape: Size) -> Iterator[tuple[Tensor, Tensor]]:
    """For each of the 13 offsets after the identity: the sites with a neighbour, the neighbours."""
    bordered = tuple(size + 2 for size in shape)  # so that no neighbour wraps around
    key = site_keys(sites + constant([0, 1, 1, 1], sites), bordered)
    ended = torch.cat([key, constant([torch.iinfo(key.dtype).max], key)])
    width, plane = bordered[2], bordered[1] * bordered[2]
    for row in (0, width, plane - width, plane, plane + width):
        steps = (-1, 0, 1) if row else (1,)
        # As keys are sorted, a search for the first of the cells on end leads to the others too.
        candidate = torch.searchsorted(key, key + (row + steps[0]))
        for step in steps:
            hit = ended.index_select(0, candidate) == key + (row + step)
            site = torch.nonzero(hit).squeeze(1)
            yield site, candidate.index_select(0, site)
            candidate = candidate + hit


def strided_rules(
    sites: Tensor, shape: Size, kernel: Size, stride: Size, padding: Size
) -> tuple[Rules, Tensor, Size]:
    """Rules of a convolution, its output sites and the shape of its output.

    An output site is active where the kernel covers any active input site.
    """
    out_shape = output_shape(shape, kernel, stride, padding)
    axes = zip(sites[:, 1:].unbind(1), shape, kernel, stride, padding, out_shape, strict=True)
    z, y, x = (_reached(*axis) for axis in axes)
    hits = ((z >= 0)[:, None, None] & (y >= 0)[:, None] & (x >= 0)).flatten(0, 2)
    frame, (_, height, width) = sites[:, 0] * out_shape[0], out_shape
    keys = (((frame + z)[:, None, None] * height + y[:, None]) * width + x).flatten()
    hit = torch.nonzero(hits.flatten()).squeeze(1)  # (pairs,): offset * n + row
    key, outputs = torch.unique(keys[hit], return_inverse=True)
    rules = Rules(hit % max(len(sites), 1), outputs, tuple(hits.sum(1).tolist()), len(key))
    return rules, _sites(key, out_shape), out_shape


def output_shape(shape: Size, kernel: Size, stride: Size, padding: Size) -> Size:
    """The shape of a convolution's output, of an input of `shape`."""
    axes = zip(shape, kernel, stride, padding, strict=True)
    return tuple((n + 2 * pad - k) // step + 1 for n, k, step, pad in axes)


def _reached(cells: Tensor, size: int, kernel: int, stride: int, padding: int, outputs: int):
    """The output cell (kernel, n) of each input cell (n,) at each offset of an axis, or -1."""
    every = torch.arange(size, device=cells.device)
    shifted = every + padding - torch.arange(kernel, device=cells.device)[:, None]
    cell = torch.div(shifted, stride, rounding_mode="floor")
    valid = (cell >= 0) & (cell < outputs) & (shifted % stride == 0)
    return torch.where(valid, cell, -1)[:, cells]


def site_keys(sites: Tensor, shape: Size) -> Tensor:
    """One integer a site (n,), in the order of frame, z, y, x."""
    frame, z, y, x = sites.unbind(1)
    return ((frame * shape[0] + z) * shape[1] + y) * shape[2] + x


def _sites(key: Tensor, shape: Size) -> Tensor:
    """The inverse of `site_keys`."""
    depth, height, width = shape
    parts = [key // (depth * height * width), key // (height * width) % depth]
    return torch.stack([*parts, key // width % height, key % width], dim=1)
