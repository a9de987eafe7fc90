"""A small disk, and how it fills up."""

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILLER = "filler"
BLOCKS = (2**20, 2**12, 1)  # bytes; the last one leaves no room at all


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[bool]:
    """Mounts a file system of `size` in memory at a folder; False where that is not allowed."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        done = False
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "-l", str(place)], check=True)


def fill(folder: Path) -> None:
    """Writes into a file until the disk is full."""
    with (folder / FILLER).open("ab", buffering=0) as file:
        for size in BLOCKS:
            while _appended(file, bytes(size)):
                pass


def _appended(file, data: bytes) -> bool:
    try:
        return file.write(data) == len(data)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
