"""Writing a tree of synthetic frames in KITTI's layout, in parallel and resumable.

    root/synthetic.json                        seed and generator version
    root/training/{velodyne,label_2,calib}     frames 000000... (train) and 500000... (val)
    root/ImageSets/{train,val}.txt             the frames present, in order

A frame depends on seed and number alone, so a larger request adds frames to a smaller one's tree
and changes none; the streets of train and val are different ones.
"""

import ctypes
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from kdbench.datasets.synthetic.camera import CALIBRATION
from kdbench.datasets.synthetic.frame import simulate
from kdbench.errors import UsageError
from kdbench.geometry.calibration import format_calibration
from kdbench.geometry.kitti_labels import format_rows
from kdbench.storage.files import write_bytes, write_text
from kdbench.storage.lock import alone

VERSION = 9  # of the simulator: raise it with any change to what a frame holds
FIRST = {"train": 0, "val": 500_000}  # number of a split's first frame
MOST_FRAMES = 500_000  # in a split
WORTH_A_POOL = 40  # frames; fewer are made sooner than worker processes start
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
STAMP = "synthetic.json"
TEMPORARY = tuple(f"{folder}.*.*.*" for folder in ("training/*/", "ImageSets/", ""))
CHUNK = 4  # frames handed to a worker at a time

Progress = Callable[[int, int], None]  # frames done, frames to make


def generate(
    root: Path | str,
    seed: int = 0,
    train_frames: int = 500,
    val_frames: int = 150,
    workers: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Makes the frames that `root` lacks and returns how many that were.

    `workers` processes share the work, by default one a core; as they are spawned, a script that
    calls this needs the usual `if __name__ == "__main__"`. `progress` is told of each frame done.
    Raises UsageError when `root` holds frames of another seed or generator version.
    """
    root = Path(root).expanduser()
    wanted = {"train": train_frames, "val": val_frames}
    if max(wanted.values()) > MOST_FRAMES or min(wanted.values()) < 0 or seed < 0:
        raise UsageError(f"synthetic: seed and frames must be 0 or more, frames <= {MOST_FRAMES}")
    numbers = [FIRST[split] + k for split, count in wanted.items() for k in range(count)]
    if _listed(root, wanted, seed):
        return 0
    with alone(root, TEMPORARY):
        _stamp(root, seed)
        missing = [n for n in numbers if not _complete(root, n)]
        for done, _ in enumerate(_made(root, seed, missing, workers), start=1):
            if progress:
                progress(done, len(missing))
        _list_frames(root)
    return len(missing)


def _made(root: Path, seed: int, numbers: list[int], workers: int | None) -> Iterator[None]:
    """Writes the frames, one item a frame."""
    workers = workers or _cores()
    jobs = [(root, seed, n) for n in numbers]
    if len(jobs) < WORTH_A_POOL:
        yield from map(_write_frame, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _prepare_worker) as pool:
        try:
            yield from pool.map(_write_frame, jobs, chunksize=CHUNK)
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    """An interrupt is the parent's to handle: workers finish their frame. And they keep memory.

    A frame's arrays are so large that glibc asks the system for each anew and gives it back at
    once, which costs time in every frame; where there is another C library, that stays so.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 64 * 2**20)
        mallopt(M_TRIM_THRESHOLD, 512 * 2**20)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _write_frame(job: tuple[Path, int, int]) -> None:
    root, seed, number = job
    scan = simulate(seed, number)
    cloud, label, calib = _files(root, number)
    write_bytes(cloud, scan.points.tobytes())
    write_text(calib, format_calibration(CALIBRATION))
    write_text(label, format_rows(scan.objects))


def _files(root: Path, number: int) -> tuple[Path, Path, Path]:
    folder = root / "training"
    return (
        folder / "velodyne" / f"{number:06d}.bin",
        folder / "label_2" / f"{number:06d}.txt",
        folder / "calib" / f"{number:06d}.txt",
    )


def _complete(root: Path, number: int) -> bool:
    return all(file.exists() for file in _files(root, number))


def _listed(root: Path, wanted: dict[str, int], seed: int) -> bool:
    """Whether the tree is known to hold all that is wanted, from its lists and stamp alone."""
    try:
        lists = {s: (root / "ImageSets" / f"{s}.txt").read_text().split() for s in wanted}
        stamp = json.loads((root / STAMP).read_text())
    except (OSError, ValueError):
        return False
    enough = all(len(lists[split]) >= count for split, count in wanted.items())
    last = [FIRST[s] + k for s, count in wanted.items() for k in (0, count - 1) if count]
    return enough and stamp == _identity(seed) and all(_complete(root, n) for n in last)


def _list_frames(root: Path) -> None:
    """Lists each split's frames up to the first one that is missing."""
    for split, first in FIRST.items():
        number = first
        while _complete(root, number):
            number += 1
        lines = "".join(f"{n:06d}\n" for n in range(first, number))
        write_text(root / "ImageSets" / f"{split}.txt", lines)


def _identity(seed: int) -> dict:
    return {"generator": VERSION, "seed": seed}


def stamp_of(root: Path) -> dict[str, int] | None:
    """Version (`generator`) and `seed` of what made a tree; None for a tree of another origin."""
    try:
        stamp = json.loads((root / STAMP).read_text())
    except (OSError, ValueError):
        return None
    sound = isinstance(stamp, dict) and stamp.keys() == _identity(0).keys()
    return stamp if sound else None


def _stamp(root: Path, seed: int) -> None:
    """Marks the tree as this seed's, or complains that it is another's."""
    path = root / STAMP
    if path.exists():
        try:
            found = json.loads(path.read_text())
        except ValueError:
            found = "unreadable"
        if found != _identity(seed):
            raise UsageError(
                f"{path}: the folder holds frames of {found}, wanted {_identity(seed)};"
                " choose another folder"
            )
    elif (root / "training").exists():
        raise UsageError(f"{root}: holds another data set; choose another folder")
    else:
        write_text(path, json.dumps(_identity(seed)) + "\n")
