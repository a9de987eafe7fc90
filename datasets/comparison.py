"""How alike two KITTI trees are, in what a detector sees of them."""

from dataclasses import dataclass

import numpy as np

from kdbench.dataset import Dataset
from kdbench.errors import DataError
from kdbench.geometry.boxes import points_in_boxes

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


def summarise(dataset: Dataset, splits: tuple[str, ...] = ("train", "val")) -> Summary:
    """Statistics over all frames of `splits`.

    Raises DataError when there is no frame, or that names a damaged file.
    """
    ids = [frame_id for split in splits for frame_id in dataset.ids(split)]
    if not ids:
        raise DataError(f"{dataset.name}: no frame in {' and '.join(splits)}")
    rows, pillars, range_counts, height_counts, reflectance_counts = [], [], [], [], []
    on: dict[str, list[np.ndarray]] = {name: [] for name in dataset.classes}
    on_cars, occlusion = [], []
    for frame_id in ids:
        frame = dataset.frame(frame_id)
        xyz, reflectance = frame.points[:, :3], frame.points[:, 3]
        rows.append([len(xyz), *np.bincount(frame.labels, minlength=len(dataset.classes))])
        pillars.append(_pillar_counts(xyz))
        range_counts.append(np.histogram(np.hypot(xyz[:, 0], xyz[:, 1]), RANGES)[0])
        height_counts.append(np.histogram(xyz[:, 2], HEIGHTS)[0])
        reflectance_counts.append(np.histogram(reflectance, REFLECTANCES)[0])
        inside = points_in_boxes(frame.points, frame.boxes + np.float32(ENLARGED))
        distance = np.hypot(frame.boxes[:, 0], frame.boxes[:, 1])
        found = np.column_stack([distance, inside.sum(axis=0)])
        for label, name in enumerate(dataset.classes):
            on[name].append(found[frame.labels == label])
        objects = dataset.objects(frame_id)
        occlusion.append(objects.occluded[objects.names == dataset.classes[0]])
        on_cars.append(reflectance[inside[:, frame.labels == 0].any(axis=1)])
    points_on = {name: np.concatenate(parts) for name, parts in on.items()}
    numbers = _numbers(dataset.classes, np.array(rows), pillars, points_on)
    histograms = {
        "range": _shares(range_counts),
        "height": _shares(height_counts),
        "reflectance": _shares(reflectance_counts),
        "reflectance on cars": _shares([np.histogram(r, REFLECTANCES)[0] for r in on_cars]),
    }
    for name in ("reflectance", "reflectance on cars"):
        numbers[f"{name}: share below 0.05"] = float(histograms[name][0])
    for level, meaning in enumerate(("fully visible", "partly occluded", "largely occluded")):
        levels = np.concatenate(occlusion)
        share = float((levels == level).mean()) if len(levels) else float("nan")
        numbers[f"{dataset.classes[0]}s {meaning} (share)"] = share
    return Summary(numbers, histograms, points_on)


def _numbers(classes, rows: np.ndarray, pillars: list, points_on: dict) -> dict[str, float]:
    numbers = {"frames": len(rows), "points a frame (median)": float(np.median(rows[:, 0]))}
    for column, name in enumerate(classes, start=1):
        numbers[f"{name} a frame"] = float(rows[:, column].mean())
    for name, found in points_on.items():
        for low, high in zip(DISTANCES[:-1], DISTANCES[1:], strict=True):
            band = found[(found[:, 0] >= low) & (found[:, 0] < high), 1]
            median = float(np.median(band)) if len(band) else float("nan")
            numbers[f"points on a {name} at {low}-{high} m (median)"] = median
    numbers["pillars a frame (median)"] = float(np.median([len(counts) for counts in pillars]))
    counts = np.concatenate(pillars)
    numbers["points a pillar (mean)"] = float(counts.mean())
    numbers["pillars with one point (share)"] = float((counts == 1).mean())
    return numbers


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
