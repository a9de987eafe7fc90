"""How alike two data sets are, in what a detector sees of them."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from kdbench.dataset import Dataset
from kdbench.datasets.likeness import Blob, depths_behind, person_sized
from kdbench.errors import DataError
from kdbench.geometry.boxes import points_in_boxes
from kdbench.geometry.kitti_labels import KittiObjects

DISTANCES = (0, 15, 30, 45, 90)  # metres from the sensor's axis, edges of the bands
PILLAR = 0.16  # metres, side of a pillar
RANGES = tuple(range(0, 85, 5))  # metres, edges of the range histogram
HEIGHTS = tuple(np.arange(-3, 3.25, 0.25))  # metres over the sensor, edges
REFLECTANCES = tuple(np.arange(0, 1.05, 0.05))
ENLARGED = (0.0, 0.0, 0.0, 0.1, 0.1, 0.1, 0.0)  # on boxes, against labels cut too tight


@dataclass(frozen=True)
class Summary:
    """Measured over the frames of one data set."""

    numbers: dict[str, float]  # what the table shows
    histograms: dict[str, np.ndarray]  # shares that sum to 1, over the edges above
    points_on: dict[str, np.ndarray]  # class -> (n, 2): distance in metres, points of each object
    others: Counter  # names of labels that count as no class -> how many


@dataclass(frozen=True)
class _Measured:
    """What one frame gives."""

    points: int
    labels: np.ndarray  # (m,)
    found: np.ndarray  # (m, 2): distance in metres and points of each object
    objects: KittiObjects  # all that are labelled
    pillars: np.ndarray  # (p,) points of each pillar that has any
    counts: dict[str, np.ndarray]  # of points in the bins of each histogram
    depths: list[np.ndarray]  # of each class: of points of its objects seen from behind
    blobs: list[Blob]


def summarise(dataset: Dataset, splits: tuple[str, ...] = ("train", "val")) -> Summary:
    """Statistics over all frames of `splits`.

    Raises DataError when there is no frame, or that names a damaged file.
    """
    ids = [frame_id for split in splits for frame_id in dataset.ids(split)]
    if not ids:
        raise DataError(f"{dataset.name}: no frame in {' and '.join(splits)}")
    frames = [_measure(dataset, frame_id) for frame_id in ids]
    labels = np.concatenate([f.labels for f in frames])
    found = np.concatenate([f.found for f in frames])
    points_on = {name: found[labels == i] for i, name in enumerate(dataset.classes)}
    histograms = {name: _shares([f.counts[name] for f in frames]) for name in frames[0].counts}
    numbers = {
        "frames": len(frames),
        "points a frame (median)": float(np.median([f.points for f in frames])),
        **{f"{name} a frame": len(points_on[name]) / len(frames) for name in points_on},
        **_by_distance(points_on),
        **_of_pillars([f.pillars for f in frames]),
    }
    for i, name in enumerate(dataset.classes):
        numbers |= _of_occlusion(name, [f.objects for f in frames])
        numbers |= _of_depths(name, np.concatenate([f.depths[i] for f in frames]))
    numbers |= _of_blobs([f.blobs for f in frames])
    for name in ("reflectance", *map(_reflectance_on, dataset.classes)):
        numbers[f"{name}: share below 0.05"] = float(histograms[name][0])
    return Summary(numbers, histograms, points_on, _others(frames, dataset.classes))


def _measure(dataset: Dataset, frame_id: str) -> _Measured:
    frame = dataset.frame(frame_id)
    xyz, reflectance = frame.points[:, :3], frame.points[:, 3]
    inside = points_in_boxes(frame.points, frame.boxes + np.float32(ENLARGED))
    distance = np.hypot(frame.boxes[:, 0], frame.boxes[:, 1])
    counts = {
        "range": np.histogram(np.hypot(xyz[:, 0], xyz[:, 1]), RANGES)[0],
        "height": np.histogram(xyz[:, 2], HEIGHTS)[0],
        "reflectance": np.histogram(reflectance, REFLECTANCES)[0],
    }
    for i, name in enumerate(dataset.classes):
        own = reflectance[inside[:, frame.labels == i].any(axis=1)]
        counts[_reflectance_on(name)] = np.histogram(own, REFLECTANCES)[0]
    return _Measured(
        points=len(xyz),
        labels=frame.labels,
        found=np.column_stack([distance, inside.sum(axis=0)]),
        objects=dataset.objects(frame_id),
        pillars=_pillar_counts(xyz),
        counts=counts,
        depths=[depths_behind(frame, i) for i in range(len(dataset.classes))],
        blobs=person_sized(frame),
    )


def _reflectance_on(name: str) -> str:
    return f"reflectance on a {name}"


def _others(frames: list[_Measured], classes: tuple[str, ...]) -> Counter:
    names = Counter(str(name) for f in frames for name in f.objects.names)
    return Counter({k: count for k, count in names.items() if k not in (*classes, "DontCare")})


def _by_distance(points_on: dict[str, np.ndarray]) -> dict[str, float]:
    numbers = {}
    for name, found in points_on.items():
        for low, high in zip(DISTANCES[:-1], DISTANCES[1:], strict=True):
            band = found[(found[:, 0] >= low) & (found[:, 0] < high), 1]
            median = float(np.median(band)) if len(band) else np.nan
            numbers[f"points on a {name} at {low}-{high} m (median)"] = median
    return numbers


def _of_pillars(pillars: list[np.ndarray]) -> dict[str, float]:
    counts = np.concatenate(pillars)
    return {
        "pillars a frame (median)": float(np.median([len(own) for own in pillars])),
        "points a pillar (mean)": float(counts.mean()),
        "pillars with one point (share)": float((counts == 1).mean()),
    }


def _of_occlusion(name: str, frames: list[KittiObjects]) -> dict[str, float]:
    levels = np.concatenate([objects.occluded[objects.names == name] for objects in frames])
    meanings = ("fully visible", "partly occluded", "largely occluded")
    return {
        f"{name} {meaning} (share)": float((levels == level).mean()) if len(levels) else np.nan
        for level, meaning in enumerate(meanings)
    }


def _of_depths(name: str, depths: np.ndarray) -> dict[str, float]:
    """Metres behind the near end of objects seen from behind, see `likeness.py`."""
    return {
        f"depth of a {name}'s points from behind: percentile {share}": float(
            np.percentile(depths, share)
        )
        if len(depths)
        else np.nan
        for share in (10, 25, 50, 75)
    }


def _of_blobs(frames: list[list[Blob]]) -> dict[str, float]:
    """Things as large as a person that are none, see `likeness.py`."""
    blobs = [blob for own in frames for blob in own]
    traits = {
        "height": [blob.height for blob in blobs],
        "width": [blob.width for blob in blobs],
        "points": [blob.points for blob in blobs],
        "spread of reflectance": [blob.reflectance_spread for blob in blobs],
    }
    return {"things as large as a person a frame": len(blobs) / len(frames)} | {
        f"their {name} (median)": float(np.median(values)) if values else np.nan
        for name, values in traits.items()
    }


def _pillar_counts(xyz: np.ndarray) -> np.ndarray:
    """Points of each pillar that has any."""
    cell = np.floor(xyz[:, :2] / PILLAR).astype(np.int64)
    return np.unique(cell[:, 0] * 100_000 + cell[:, 1], return_counts=True)[1]


def _shares(counts: list[np.ndarray]) -> np.ndarray:
    total = np.sum(counts, axis=0)
    return total / max(total.sum(), 1)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """How much two histograms of shares have in common: 1 when equal, 0 when disjoint."""
    return float(np.minimum(a, b).sum())
