"""Fits the numbers in `statistics.json` to a folder of KITTI label files.

    python -m kdbench.datasets.synthetic.fit_statistics LABELS_DIR

Stored are histograms and moments over all frames, never a label.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np

from kdbench.geometry import kitti_labels
from kdbench.storage.files import write_text

CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Cyclist")
FARTHEST, RANGE_BIN = 80.0, 5.0  # metres
WIDEST, BEARING_BIN = 45.0, 5.0  # degrees to each side
HEADING_BIN = 15.0  # degrees
ZONES = (-7.0, -2.0, 2.0, 7.0)  # metres to the left: edges between side, lanes, own lane, ...


def fit(folder: Path) -> dict:
    """The statistics of all label files in `folder`, for the classes that occur in them."""
    frames = [kitti_labels.read(path) for path in sorted(folder.glob("*.txt"))]
    present = [name for name in CLASSES if any((frame.names == name).sum() for frame in frames)]
    return {"frames": len(frames), "classes": {name: _fit_class(frames, name) for name in present}}


def _fit_class(frames: list, name: str) -> dict:
    chosen = [frame.select(frame.names == name) for frame in frames]
    counts = np.bincount([len(objects) for objects in chosen])
    lwh = np.concatenate([objects.hwl[:, ::-1] for objects in chosen])
    location = np.concatenate([objects.location for objects in chosen])
    forward, left = location[:, 2], -location[:, 0]
    yaw = -np.concatenate([objects.rotation_y for objects in chosen]) - np.pi / 2
    return {
        "counts": counts.tolist(),  # frames with 0, 1, 2, ... of them
        "log_size_mean": np.log(lwh).mean(axis=0).round(4).tolist(),  # length, width, height
        "log_size_covariance": np.cov(np.log(lwh).T).round(5).tolist(),
        "places": _places(forward, left).tolist(),
        "headings": _headings(left, yaw).tolist(),
    }


def _places(forward: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Objects in each bin of (range, bearing), bearing counted from the left edge on."""
    bearing = np.degrees(np.arctan2(left, forward))
    bins = (
        np.arange(0, FARTHEST + RANGE_BIN, RANGE_BIN),
        np.arange(-WIDEST, WIDEST + BEARING_BIN, BEARING_BIN),
    )
    return np.histogram2d(np.hypot(forward, left), bearing, bins)[0].astype(int)


def _headings(left: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Objects in each bin of heading, for right side, right lanes, own lane, left lanes, left side.

    Heading bins are centred on 0, `HEADING_BIN`, ... degrees from straight ahead.
    """
    zone = np.digitize(left, ZONES)
    bins = round(360 / HEADING_BIN)
    heading = np.round(np.degrees(yaw) / HEADING_BIN).astype(int) % bins
    table = np.zeros((5, bins), int)
    np.add.at(table, (zone, heading), 1)
    return table


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m kdbench.datasets.synthetic.fit_statistics LABELS_DIR")
    text = json.dumps(fit(Path(sys.argv[1])), indent=1)
    text = re.sub(r"\[[^\[\]]*\]", lambda row: re.sub(r"\s+", " ", row[0]), text)  # a row a line
    write_text(Path(__file__).with_name("statistics.json"), text + "\n")


if __name__ == "__main__":
    main()
