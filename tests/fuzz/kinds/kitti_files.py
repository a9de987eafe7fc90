"""Files of a KITTI tree, read by `kdbench data verify`."""

import re
from pathlib import Path

import numpy as np

from kdbench.datasets.kitti_tree import KittiTree
from kdbench.errors import DataError
from kdbench.geometry.calibration import KEYS, read_calibration
from tests.conftest import write_tree
from tests.fuzz.changes import changed_bytes, changed_text, pick

FRAMES = {"train": ["000000"], "val": ["000002"]}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
STRANGE = (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, -1, 255, 1001, 0)


class TreeFiles:
    """A small tree; `file` of it is changed as text."""

    file = ""
    said, errors = r"\d+ problems?$|all files are there", 0

    def make(self, base: Path) -> None:
        write_tree(base / "kitti", FRAMES)

    def change(self, folder: Path, rng) -> None:
        path = folder / "kitti" / self.file
        path.write_bytes(changed_text(path.read_text(), rng))

    def arguments(self, folder: Path) -> list:
        return ["data", "verify", folder / "kitti"]

    def misread(self, folder: Path, out: str) -> str | None:
        try:
            return self._misread(folder / "kitti", folder / "kitti" / self.file)
        except (DataError, ValueError, IndexError, KeyError) as error:
            return f"all was well, but {error}"


class Clouds(TreeFiles):
    file = "training/velodyne/000000.bin"

    def change(self, folder: Path, rng) -> None:
        path = folder / "kitti" / self.file
        data = path.read_bytes()
        if rng.random() < 0.5:
            values = np.frombuffer(data, "<f4").copy()
            values[rng.integers(0, len(values), rng.integers(1, 60))] = pick(STRANGE, rng)
            path.write_bytes(values.tobytes())
        else:
            path.write_bytes(changed_bytes(data, rng))

    def _misread(self, root: Path, path: Path) -> str | None:
        plain = np.frombuffer(path.read_bytes(), "<f4").reshape(-1, 4)
        points = KittiTree(root=root, crop=False).frame("000000").points
        same = np.array_equal(np.asarray(points), plain) and np.isfinite(plain).all()
        return None if same else f"{len(points)} points for {len(plain)}"


class Calibrations(TreeFiles):
    file = "training/calib/000000.txt"

    def _misread(self, root: Path, path: Path) -> str | None:
        found = read_calibration(path)
        matrices = dict(zip(KEYS, (found.p2, found.r0, found.velo_to_cam), strict=True))
        for line in path.read_bytes().decode().replace("\ufeff", "").splitlines():
            key, colon, numbers = line.partition(":")
            if colon and key.strip() in KEYS:
                if not all(map(NUMBER.fullmatch, numbers.split())):
                    return f"{line!r} is no line of numbers"
                plain = [float(x) for x in numbers.split()]
                if matrices[key.strip()].ravel().tolist() != plain:
                    return f"{key}: {matrices[key.strip()]} for {plain}"
        return None


class FrameLists(TreeFiles):
    file = "ImageSets/train.txt"

    def _misread(self, root: Path, path: Path) -> str | None:
        plain = path.read_bytes().decode("utf-8").replace("\ufeff", "").split()
        found = KittiTree(root=root).ids("train")
        return None if found == plain else f"{found} for {plain}"
