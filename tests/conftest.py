"""What all tests share."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from kdbench.geometry import kitti_labels
from kdbench.geometry.boxes import boxes_lidar_to_camera, corners
from kdbench.geometry.calibration import Calibration, format_calibration

# Tests do not time, and fail or pass the same way every time.
settings.register_profile("kdbench", deadline=None, derandomize=True)
settings.load_profile("kdbench")

CALIBRATION = Calibration(
    p2=np.array([[721.5377, 0, 609.5593, 44.86], [0, 721.5377, 172.854, 0.2], [0, 0, 1, 0.003]]),
    r0=np.eye(3),
    velo_to_cam=np.array([[0.0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27]]),
)
NAMES = ["Car", "Car", "Pedestrian", "Cyclist", "Van"]
SIZES = {
    "Car": (4, 1.6, 1.5),
    "Pedestrian": (0.8, 0.6, 1.7),
    "Cyclist": (1.8, 0.6, 1.7),
    "Van": (5, 2, 2),
}
FRAMES = {"train": ["000000", "000001", "000004", "000007"], "val": ["000002", "000003"]}


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("cuda"):
                item.add_marker(pytest.mark.skip(reason="no GPU, but see test_without_gpu.py"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real frames and reference results; tests that need it skip without it.

    It is `shared` beside the repository, or where KDBENCH_SHARED says.
    """
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("KDBENCH_SHARED", beside))
    if not (folder / "golden").is_dir():
        pytest.skip("no folder of shared data (set KDBENCH_SHARED)")
    return folder


@pytest.fixture
def make_tree(tmp_path):
    """Makes the root of a small KITTI tree on the spot, for tests that run without real data.

    Frames of FRAMES, each with an object of every name, of the size (length, width, height) given.
    """

    def make(names: list[str], sizes: dict[str, tuple]) -> Path:
        return write_tree(tmp_path / "kitti", FRAMES, names, sizes)

    return make


def write_tree(
    root: Path, frames: dict[str, list[str]] = FRAMES, names: list[str] = NAMES, sizes: dict = SIZES
) -> Path:
    """Writes the tree of these frames by split, with an object of every name in each."""
    for split, ids in frames.items():
        _write(root / f"ImageSets/{split}.txt", "\n".join(ids))  # KITTI's lack the last newline
        for frame_id in ids:
            _write_frame(root / "training", frame_id, names, sizes)
    return root


@pytest.fixture
def kitti_tree(make_tree) -> Path:
    """The root of a small KITTI tree, two cars and one of the others in each frame."""
    return make_tree(NAMES, SIZES)


def _write_frame(training: Path, frame_id: str, names: list[str], sizes: dict) -> None:
    rng = np.random.default_rng(int(frame_id))
    gap = 35 / len(names)
    boxes = np.array([
        # Staggered in x by row, so that no two boxes of one frame touch.
        (10 + gap * i + rng.uniform(0, 1), rng.uniform(-4, 4), -1, *sizes[name], rng.uniform(-3, 3))
        for i, name in enumerate(names)
    ])  # fmt: skip
    _write(training / f"calib/{frame_id}.txt", format_calibration(CALIBRATION))
    _write(training / f"label_2/{frame_id}.txt", label_text(names, boxes))
    on_objects = [_points_in(box, 40, rng) for box in boxes]
    ground = rng.uniform((2, -30, -1.8), (60, 30, -1.75), (2000, 3))
    cloud = np.concatenate([ground, *on_objects])
    cloud = np.column_stack([cloud, rng.uniform(0, 1, len(cloud))]).astype("<f4")
    _write(training / f"velodyne/{frame_id}.bin", cloud.tobytes())


def label_text(names: list[str], boxes: np.ndarray) -> str:
    """The label file of LiDAR boxes (n, 7) that are all seen well, and one DontCare."""
    hwl, location, rotation_y = boxes_lidar_to_camera(boxes, CALIBRATION)
    table = np.zeros((len(names), 14))
    for i, c in enumerate(corners(boxes)):
        pixels, _ = CALIBRATION.rect_to_image(CALIBRATION.lidar_to_rect(c))
        table[i, 3:7] = *pixels.min(axis=0), *pixels.max(axis=0)
    table[:, 7:] = np.column_stack([hwl, location, rotation_y])
    dont_care = "DontCare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10\n"
    return kitti_labels.format_rows(kitti_labels.from_table(names, table)) + dont_care


def _points_in(box: np.ndarray, count: int, rng) -> np.ndarray:
    """Points (count, 3) well inside a box (7,)."""
    c = corners(box[None])[0]
    along, left, up = c[[3, 1, 6]] - c[2]
    share = rng.uniform(0.1, 0.9, (count, 3))
    return c[2] + share[:, :1] * along + share[:, 1:2] * left + share[:, 2:] * up


def _write(path: Path, data: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
