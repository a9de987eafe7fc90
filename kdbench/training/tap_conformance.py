"""Whether what a detector shows, and the boxes it gives, are what their contracts say."""

import numpy as np
import torch
from torch import Tensor

from kdbench.detector import Detections
from kdbench.taps import Kind, Rows, Taps, TapSpec
from kdbench.training.conformance import CLASSES, Failed

MARGIN = 4.0  # metres that the centre of a box may lie outside of what the detector sees


def must(hold: bool | Tensor, otherwise: str) -> None:
    """Raises Failed with the message unless something holds."""
    if not hold:
        raise Failed(otherwise)


def check_tap(spec: TapSpec, value: Tensor | Rows, frames: int, point_range) -> None:
    """Raises Failed when a tap's value is not what its spec says, see `taps.py`."""
    if spec.kind in (Kind.ROWS, Kind.POINTS):
        _check_rows(spec, value, frames)
        return
    if spec.kind is Kind.JUDGE:
        _check_judge(value, frames, point_range)
        return
    from_above = spec.kind in (Kind.BEV, Kind.COUNTS)
    layout, dimensions, channel = (
        ("(B, C, H, W)", 4, 1) if from_above else ("(B, H, W, A, C)", 5, 4)
    )
    shape = tuple(getattr(value, "shape", ()))
    fits = len(shape) == layout.count(",") + 1
    fits = fits and (shape[0], shape[channel]) == (frames, spec.channels)
    must(fits, f"{spec.kind} must be {layout}, B={frames}, C={spec.channels}, not {shape}")
    must(value.isfinite().all(), "not finite")
    if spec.cell:
        _check_extent(spec.cell, shape[2:] if from_above else shape[1:3], point_range)
    if spec.decode is not None:
        check_boxes(spec.decode(torch.zeros_like(value)).flatten(0, -2), point_range)


def _check_extent(cell: float, size: tuple[int, int], point_range) -> None:
    """A map of H x W cells must cover what the detector sees, to less than a cell."""
    wide, tall = np.subtract(point_range[3:5], point_range[:2]) / cell
    near = abs(size[0] - tall) < 1 and abs(size[1] - wide) < 1
    must(near, f"{size[0]} x {size[1]} cells of {cell:g} m do not cover {tall:g} along y (H) x "
               f"{wide:g} along x (W)")  # fmt: skip


def _check_rows(spec: TapSpec, value: Tensor | Rows, frames: int) -> None:
    must(isinstance(value, Rows), f"{spec.kind} must be Rows, not {type(value).__name__}")
    count = len(value.features)
    shapes = [tuple(x.shape) for x in (value.features, value.coordinates, value.counts)]
    wanted = [(count, spec.channels), (count, 3), (count,)]
    must(shapes == wanted, f"features, coordinates, counts are {shapes}, not {wanted}")
    must(value.features.isfinite().all(), "not finite")
    frame = value.coordinates[:, 0]
    must((frame.diff() >= 0).all(), "rows must be sorted by frame")
    must(((frame >= 0) & (frame < frames)).all(), "a row belongs to no frame of the batch")
    must((value.counts >= 1).all(), "a row stands for no point")
    must(spec.kind is Kind.ROWS or value.positions is not None, "points must have positions")


def _check_judge(value, frames: int, point_range) -> None:
    low, high = torch.tensor(point_range).split(3)
    box = torch.cat([(low + high) / 2, torch.tensor([4.0, 2.0, 1.5, 0.3])])
    counts = [i % 3 for i in range(frames)]  # none too
    found = value([box.repeat(count, 1) for count in counts])
    shapes = [tuple(scores.shape) for scores in found]
    must(shapes == [(count,) for count in counts], f"scores {shapes} of {counts} boxes a frame")
    scores = torch.cat(list(found))
    must(((scores >= 0) & (scores <= 1)).all(), "a score is not from 0 to 1")


def check_detections(found: Detections, point_range) -> None:
    """Raises Failed when detections of one frame are not what `Detections` says."""
    count = len(found.scores)
    shapes = [tuple(x.shape) for x in (found.boxes, found.scores, found.labels)]
    wanted = [(count, 7), (count,), (count,)]
    must(shapes == wanted, f"boxes, scores, labels are {shapes}, not {wanted}")
    scores, labels = found.scores, found.labels
    must(((scores >= 0) & (scores <= 1)).all(), "a score is not from 0 to 1")
    must((scores.diff() <= 0).all(), "detections must come best first")
    must(labels.dtype == torch.int64, f"labels are {labels.dtype}, not int64")
    must(((labels >= 0) & (labels < len(CLASSES))).all(), "a label is none of the classes")
    check_boxes(found.boxes, point_range)


def check_boxes(boxes: Tensor, point_range) -> None:
    """Raises Failed unless boxes (n, 7) have a size and stand where the detector sees."""
    must(boxes.isfinite().all(), "a box is not finite")
    must((boxes[:, 3:6] > 0).all(), "a box has a size of 0 or less")
    low, high = boxes.new_tensor(point_range).split(3)
    inside = ((boxes[:, :3] > low - MARGIN) & (boxes[:, :3] < high + MARGIN)).all(1)
    far = [[round(x, 1) for x in box] for box in boxes[~inside, :3].tolist()]
    must(not far, f"a box around {far[:1]} is outside of point_range: boxes are x, y, z of the "
                  "centre, length, width, height, yaw in the LiDAR frame")  # fmt: skip


def equal(taps: Taps, others: Taps) -> bool:
    """Whether two passes gave the same bits; a judge, and names with `_` before, are left out."""
    names = [n for n in taps if not n.startswith("_") and not callable(taps[n])]
    return all(torch.equal(_value(taps[name]), _value(others[name])) for name in names)


def _value(tap: Tensor | Rows) -> Tensor:
    return tap.features if isinstance(tap, Rows) else tap
