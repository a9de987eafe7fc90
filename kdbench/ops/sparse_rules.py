"""Rulebooks of sparse convolutions: which input row meets which output row at which offset.

As in SECOND (Yan et al., Sensors 2018, section 3.1), but found by sorting and searching integer
keys in place of hashing: a few tensor operations on any device, and always the same order of
rows. Sites are (n, 4) int64 coordinates `frame, z, y, x`, sorted and unique.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

Size = tuple[int, int, int]  # along z, y and x


@dataclass(frozen=True)
class Rules:
    """The active pairs of a convolution, offset by offset.

    Within one offset no row appears twice, neither of the input nor of the output.
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
    def by_offset(self) -> list[tuple[int, Tensor, Tensor]]:
        """Offset, input rows and output rows of each offset that lists any."""
        parts = zip(self.inputs.split(self.counts), self.outputs.split(self.counts), strict=True)
        return [(i, *part) for i, part in enumerate(parts) if self.counts[i]]


def submanifold_rules(sites: Tensor, shape: Size) -> Rules:
    """Rules of a 3x3x3 convolution whose output sites are its input sites.

    Graham et al., "3D Semantic Segmentation with Submanifold Sparse Convolutional Networks",
    CVPR 2018. Only neighbours that come later in the order of sites are looked for: a pair
    serves the opposite offset too.
    """
    bordered = tuple(size + 2 for size in shape)  # so that no neighbour wraps around
    key = site_keys(sites + sites.new_tensor([0, 1, 1, 1]), bordered)
    place, neighbour, step = _later_neighbours(key, bordered)
    # Of 13 offsets: one in a site's own row, then three in each of the four other rows.
    later = 3 * torch.div(place, max(len(key), 1), rounding_mode="floor") + step - 1
    later, order = torch.sort(later, stable=True)
    site, neighbour = (place % max(len(key), 1))[order], neighbour[order]
    counts = torch.bincount(later, minlength=13).tolist()
    return _with_opposites(site, neighbour, counts, len(key))


def _later_neighbours(key: Tensor, shape: Size) -> tuple[Tensor, Tensor, Tensor]:
    """Every pair of a site and a neighbour after it, from the sites' sorted keys (n,).

    A neighbour lies in one of five rows along x: the site's own, the next one in y, and three
    of the next z. Returns its row and site as `row * n + site`, the neighbour, and its step in
    x from the site: -1, 0 or 1.
    """
    width, plane = shape[2], shape[1] * shape[2]
    rows = key.new_tensor([0, width, plane - width, plane, plane + width])
    middle = key + rows[:, None]  # (5, n): keys of the cells above or beside the sites
    after = torch.arange(1, len(key) + 1, device=key.device)
    first = torch.cat([after, torch.searchsorted(key, middle[1:] - 1).flatten()])
    place, middle = torch.arange(len(first), device=key.device), middle.flatten()
    ended = torch.cat([key, key.new_tensor([torch.iinfo(key.dtype).max])])
    found = []
    for _ in range(3):  # as the keys are sorted, the others of a row follow the first
        step = ended[first] - middle
        hit = torch.nonzero(step <= 1).squeeze(1)
        place, middle, first = place[hit], middle[hit], first[hit]
        found.append((place, first, step[hit]))
        first = first + 1
    return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def _with_opposites(site: Tensor, neighbour: Tensor, counts: list[int], rows: int) -> Rules:
    """Rules from the pairs of the 13 later offsets, at which `neighbour` is the input of `site`.

    The opposite of offset i is 26 - i, and 13 is the identity.
    """
    sites, neighbours = site.split(counts), neighbour.split(counts)
    inputs = torch.cat([*reversed(sites), *neighbours])
    outputs = torch.cat([*reversed(neighbours), *sites])
    return Rules(inputs, outputs, (*reversed(counts), 0, *counts), rows, identity=13)


def strided_rules(
    sites: Tensor, shape: Size, kernel: Size, stride: Size, padding: Size
) -> tuple[Rules, Tensor, Size]:
    """Rules of a convolution, its output sites and the shape of its output.

    An output site is active where the kernel covers any active input site.
    """
    out_shape = output_shape(shape, kernel, stride, padding)
    sizes = zip(sites[:, 1:].unbind(1), kernel, stride, padding, out_shape, strict=True)
    z, y, x = (_reached(*axis) for axis in sizes)
    hits = (z >= 0)[:, None, None] & (y >= 0)[:, None] & (x >= 0)  # (kz, ky, kx, n)
    i, j, k, row = torch.nonzero(hits, as_tuple=True)
    places = torch.stack([sites[row, 0], z[i, row], y[j, row], x[k, row]], dim=1)
    key, outputs = torch.unique(site_keys(places, out_shape), return_inverse=True)
    counts = hits.flatten(0, 2).sum(1).tolist()
    return Rules(row, outputs, tuple(counts), len(key)), _sites(key, out_shape), out_shape


def output_shape(shape: Size, kernel: Size, stride: Size, padding: Size) -> Size:
    """The shape of a convolution's output, of an input of `shape`."""
    axes = zip(shape, kernel, stride, padding, strict=True)
    return tuple((n + 2 * pad - k) // step + 1 for n, k, step, pad in axes)


def _reached(cells: Tensor, kernel: int, stride: int, padding: int, size: int) -> Tensor:
    """The output cell (kernel, n) of each input cell (n,) at each offset of an axis, or -1."""
    offsets = torch.arange(kernel, device=cells.device)
    strides = cells + padding - offsets[:, None]
    cell = torch.div(strides, stride, rounding_mode="floor")
    return torch.where((cell * stride == strides) & (cell < size), cell, -1).clamp(min=-1)


def site_keys(sites: Tensor, shape: Size) -> Tensor:
    """One integer a site (n,), in the order of frame, z, y, x."""
    frame, z, y, x = sites.unbind(1)
    return ((frame * shape[0] + z) * shape[1] + y) * shape[2] + x


def _sites(key: Tensor, shape: Size) -> Tensor:
    """The inverse of `site_keys`."""
    depth, height, width = shape
    parts = [key // (depth * height * width), key // (height * width) % depth]
    return torch.stack([*parts, key // width % height, key % width], dim=1)
