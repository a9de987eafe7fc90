"""Reductions over sorted segments, and placing rows on a dense map."""

import torch
from torch import Tensor


def segment_max(rows: Tensor, counts: Tensor) -> Tensor:
    """Maximum of each segment of `rows` (n, C); segment i is the next `counts[i]` rows.

    Returns (m, C). Every count must be at least 1 and they must sum to n.
    """
    if len(counts) == 0:
        return rows.new_zeros((0, rows.shape[1]))
    return torch.segment_reduce(rows, "max", lengths=counts, axis=0, unsafe=True)


def segment_mean(rows: Tensor, counts: Tensor) -> Tensor:
    """Mean of each segment of `rows` (n, C); see `segment_max`."""
    if len(counts) == 0:
        return rows.new_zeros((0, rows.shape[1]))
    return torch.segment_reduce(rows, "mean", lengths=counts, axis=0, unsafe=True)


def rows_to_map(rows: Tensor, coordinates: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Places rows (m, C) at coordinates (m, 3: frame, y, x) of a zero map.

    `shape` is frames, height, width; returns (frames, C, height, width) in channels-last
    memory, the layout in which a row stays one piece. No two rows may share a place.
    """
    frames, height, width = shape
    place = (coordinates[:, 0] * height + coordinates[:, 1]) * width + coordinates[:, 2]
    flat = rows.new_zeros((frames * height * width, rows.shape[1]))
    flat = flat.index_copy_(0, place, rows)
    return flat.view(frames, height, width, rows.shape[1]).permute(0, 3, 1, 2)
