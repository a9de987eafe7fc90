"""Rows of voxels, points and cells, frame by frame."""

import torch
from torch import Tensor
from torch.nn import functional as F

from kdbench.taps import Rows


def by_frame(frame: Tensor) -> tuple[Tensor, ...]:
    """Row indices of each frame that has any; `frame` (n,) is sorted."""
    sizes = torch.unique_consecutive(frame, return_counts=True)[1].tolist()
    return torch.arange(len(frame), device=frame.device).split(sizes) if sizes else ()


def cells_as_rows(x: Tensor, counts: Tensor | None = None) -> Rows:
    """The cells of a map (B, C, H, W) as rows (B * H * W, C).

    `counts` (B, 1, h, w) are points over the cells of a map that is as fine or finer; without
    them every cell counts as one point.
    """
    frames, _, height, width = x.shape
    places = [torch.arange(size, device=x.device) for size in (frames, height, width)]
    if counts is None:
        points = x.new_ones(frames * height * width)
    else:
        share = counts.shape[2] * counts.shape[3] / (height * width)
        points = F.adaptive_avg_pool2d(counts, (height, width)).flatten() * share
    features = x.permute(0, 2, 3, 1).flatten(0, 2)
    return Rows(features, torch.cartesian_prod(*places), points.round().long())
