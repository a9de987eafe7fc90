"""Control: a method whose teacher says the right things in the wrong places.

In each frame and at each step, the teacher's taps are permuted over their positions: cells of
maps and heads, rows of voxels. Taps of one size are permuted alike, so that a cell's class and
box stay together; coordinates and counts of voxels stay where they are. What a method still
gains does not come from what the teacher knows about a place.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch

from kdbench.methods.shared.wrapped import Wrapped
from kdbench.ops.rows import by_frame
from kdbench.taps import Kind, Rows


class Shuffled(Wrapped):
    """Options: `method`, the name of the method that is tested, and its `options`."""

    name = "shuffled"
    needs = ("neck|points",)
    deviations = (
        "the permutation is drawn anew at each step: a fixed one could be learned in part",
    )

    def forward(self, student, teacher, batch):
        return super().forward(student, self.permuted(teacher), batch)

    def relabel(self, batch, teacher, taps):
        return super().relabel(batch, teacher, self.permuted(taps))

    def permuted(self, taps):
        """The same taps, with the positions of each frame in random order."""
        return Permuted(taps, self.teacher_specs)


class Permuted(Mapping):
    """Taps that are permuted when they are first read; those that no one reads are not."""

    def __init__(self, taps, specs):
        self.taps, self.specs, self.orders, self.found = taps, specs, {}, {}

    def __getitem__(self, name):
        if name.startswith("_"):
            return self.taps[name]
        if name not in self.found:
            tap, is_map = self.taps[name], self.specs[name].kind == Kind.BEV
            rows = isinstance(tap, Rows)
            self.found[name] = _rows(tap) if rows else _map(tap, is_map, self.orders)
        return self.found[name]

    def __iter__(self):
        return iter(self.taps)

    def __len__(self):
        return len(self.taps)


def _map(x, channels_first, orders):
    """A map (B, C, H, W), or a head's (B, H, W, ...), with its cells permuted."""
    dims = (2, 3) if channels_first else (1, 2)
    size = tuple(x.shape[d] for d in dims)
    flat = x.flatten(*dims)
    if size not in orders:
        drawn = [torch.randperm(size[0] * size[1]) for _ in x]
        orders[size] = torch.stack(drawn).to(x.device)
    pairs = zip(flat, orders[size], strict=True)
    frames = [frame.index_select(dims[0] - 1, order) for frame, order in pairs]
    return torch.stack(frames).unflatten(dims[0], size)


def _rows(rows):
    """Rows with the features of each frame permuted."""
    orders = [f[torch.randperm(len(f)).to(f.device)] for f in by_frame(rows.coordinates[:, 0])]
    order = torch.cat(orders) if orders else slice(0)
    return replace(rows, features=rows.features[order])
