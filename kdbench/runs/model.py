"""A trained detector that takes and gives numpy arrays, one cloud at a time."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from kdbench.dataset import Batch, unlabelled
from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.runs.records import Record
from kdbench.taps import Rows


class Prediction(NamedTuple):
    """What was detected in a cloud, best first."""

    boxes: np.ndarray  # (n, 7) float32 x, y, z of the centre, dx, dy, dz, yaw: metres, LiDAR frame
    scores: np.ndarray  # (n,) float32, 0..1
    classes: np.ndarray  # (n,) str, names


class Model:
    """A trained detector, as `kdbench.load_model` gives it.

    Points are an array (n, 4): x, y, z in metres in the LiDAR frame (x forward, y left, z up), and
    reflectance from 0 to 1. They need not be cropped or sorted.
    """

    def __init__(self, detector: Detector, record: Record | None, device: torch.device):
        self.detector = detector.to(device).eval()
        self.record = record  # None of an imported network
        self.device = device

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what it detects."""
        return self.detector.classes

    @property
    def point_range(self) -> tuple[float, ...]:
        """What it sees: x0, y0, z0, x1, y1, z1 in metres, LiDAR frame."""
        return self.detector.point_range

    @torch.inference_mode()
    def predict(self, points: ArrayLike) -> Prediction:
        """Detections in points (n, 4). Raises UsageError for an array of another shape."""
        inputs = self.detector.prepare(self._batch(points))
        (found,) = self.detector.predict(self.detector(inputs))
        names = np.array(self.classes, dtype=str)[found.labels.cpu().numpy()]
        return Prediction(found.boxes.cpu().numpy(), found.scores.cpu().numpy(), names)

    @torch.inference_mode()
    def taps(self, points: ArrayLike) -> dict[str, np.ndarray]:
        """What methods see of the network for points (n, 4), by the names in `kdbench/taps.py`.

        Maps are (1, C, H, W), outputs of the head (1, H, W, anchors, values). Of voxels, pillars
        or points, `voxel` holds the features (m, C) and `voxel.coordinates` the frame, y cell and
        x cell (m, 3).
        """
        found = self.detector(self.detector.prepare(self._batch(points)))
        arrays: dict[str, np.ndarray] = {}
        for name, tap in found.items():
            if name.startswith("_"):  # no tap
                continue
            if isinstance(tap, Rows):
                arrays[f"{name}.coordinates"] = tap.coordinates.cpu().numpy()
            arrays[name] = getattr(tap, "features", tap).cpu().numpy()
        return arrays

    def _batch(self, points: ArrayLike) -> Batch:
        cloud = np.asarray(points)
        if cloud.ndim != 2 or cloud.shape[1] != 4 or cloud.dtype.kind not in "fiu":
            raise UsageError(
                f"points: an array (n, 4) of x, y, z and reflectance is needed, not one of shape "
                f"{cloud.shape} and type {cloud.dtype}"
            )
        return unlabelled(cloud).to(self.device)
