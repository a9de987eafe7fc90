"""What is wrong with a KITTI tree, one line a problem."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from kdbench.datasets.image_frustum import image_size
from kdbench.datasets.recording import read_cloud, read_objects
from kdbench.errors import DataError
from kdbench.geometry.calibration import read_calibration

FOLDERS = ("velodyne", "label_2", "calib")


def problems(root: Path, splits: Iterable[str], ids: Callable[[str], list[str]]) -> list[str]:
    """One line for each missing or damaged file of the tree at `root`; empty when all is well.

    `ids(split)` lists the frames of a split. Reads every cloud in full. A label file without a
    line is valid: a frame without objects.
    """
    folders = [root / "training" / name for name in FOLDERS]
    missing = [f for f in (root, root / "ImageSets", *folders) if not f.is_dir()]
    if root in missing:
        return [f"{root}: no such folder"]
    found = [f"{folder}: no such folder" for folder in missing]
    listed: list[str] = []
    for split in splits:
        try:
            listed += ids(split)
        except DataError as error:
            found.append(str(error))
    counts = Counter(listed)
    found += [f"{root / 'ImageSets'}: frame {i} is listed {n} times"
              for i, n in counts.items() if n > 1]  # fmt: skip
    present = [folder.name for folder in folders if folder not in missing]
    for frame_id in counts:
        found += _problems_of_frame(root / "training", frame_id, present)
    return found


def _problems_of_frame(training: Path, frame_id: str, folders: list[str]) -> Iterator[str]:
    checks = {"velodyne": _check_cloud, "label_2": _check_label, "calib": _check_calibration}
    for folder in folders:
        try:
            checks[folder](training, frame_id)
        except DataError as error:
            yield str(error)


def _check_cloud(training: Path, frame_id: str) -> None:
    path = training / "velodyne" / f"{frame_id}.bin"
    if len(read_cloud(path)) == 0:
        raise DataError(f"{path}: holds no points")


def _check_label(training: Path, frame_id: str) -> None:
    read_objects(training / "label_2" / f"{frame_id}.txt")


def _check_calibration(training: Path, frame_id: str) -> None:
    calibration = read_calibration(training / "calib" / f"{frame_id}.txt")
    image_size(training / "image_2" / f"{frame_id}.png", calibration)
