"""Features at the occupied cells of a grid."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from kdbench.ops.scatter import rows_to_map
from kdbench.ops.sparse_rules import Size


@dataclass(frozen=True)
class SparseTensor:
    """Feature rows, sorted by their cells' frame, z, y and x; no two may share a cell."""

    features: Tensor  # (n, C)
    coordinates: Tensor  # (n, 4) int64: frame, z, y, x cell
    shape: Size  # cells along z, y, x
    frames: int
    # What convolutions found out about these cells. All tensors over them share it, so that one
    # search serves several layers, and teacher and student.
    known: dict = field(default_factory=dict, repr=False, compare=False)

    def with_features(self, features: Tensor) -> "SparseTensor":
        """Other features (n, C) at the same cells."""
        return replace(self, features=features)

    def bev(self) -> Tensor:
        """The map (frames, depth * C, height, width), zero where nothing is; channels last.

        Its channels are those of the lowest cell, then those of the next one up.
        """
        frame, z, y, x = self.coordinates.unbind(1)
        depth, height, width = self.shape
        # z next to the channels, so that a row stays one piece of memory.
        place = torch.stack([frame, y, x * depth + z], dim=1)
        cells = rows_to_map(self.features, place, (self.frames, height, width * depth))
        return cells.permute(0, 2, 3, 1).reshape(self.frames, height, width, -1).permute(0, 3, 1, 2)

    def dense(self) -> Tensor:
        """(frames, C, depth, height, width), zero where nothing is."""
        return self.bev().unflatten(1, (self.shape[0], -1)).transpose(1, 2)
