"""What relations are built between: embeddings of boxes, or features at places drawn at random."""

import torch
from torch import Tensor

from kdbench.ops.regions import pool_boxes
from kdbench.ops.rows import by_frame
from kdbench.taps import Rows, TapSpec


def embed_boxes(x: Tensor, boxes: list[Tensor], spec: TapSpec) -> Tensor:
    """The mean of a map (B, C, H, W) over each box: (M, C), the boxes of all frames; M may be 0."""
    return pool_boxes(x, boxes, spec).mean((1, 2))


def draw_places(tap: Tensor | Rows, n: int) -> list[Tensor]:
    """At most `n` places of each frame, without repeats: positions of a map, or rows.

    Indices for `take`. A frame without rows has no entry. They are drawn on the CPU, whose random
    state a resumed training takes up again.
    """
    if isinstance(tap, Rows):
        frames = by_frame(tap.coordinates[:, 0])
    else:
        frames = [torch.arange(tap[0, 0].numel(), device=tap.device) for _ in tap]
    return [places[torch.randperm(len(places))[:n].to(places.device)] for places in frames]


def take(tap: Tensor | Rows, places: list[Tensor]) -> list[Tensor]:
    """The features (n, C) at each frame's places, of maps (B, C, H, W) or rows."""
    if isinstance(tap, Rows):
        return [tap.features[p] for p in places]
    return [frame.flatten(1)[:, p].T for frame, p in zip(tap, places, strict=True)]
