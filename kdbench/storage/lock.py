"""One process at a time in a folder, and what one that was killed there left behind."""

import contextlib
import fcntl
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from kdbench.errors import Note
from kdbench.storage.files import CannotWrite

LOCK = ".lock"


@contextlib.contextmanager
def alone(
    folder: Path, left: tuple[str, ...] = (), waits: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Holds the lock of a folder, which is made; it is let go of however the process ends.

    `left` are patterns of temporary files and folders that no process but the one that holds the
    lock makes: those that are there are of one that was killed, and go. `waits` is called where
    another process holds the lock. Raises CannotWrite for a place that cannot be written.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise CannotWrite.at(path, error) from None
    with lock:
        _hold(lock, waits)
        for pattern in left:
            for temporary in folder.glob(pattern):
                _remove(temporary)
        yield


def _hold(lock, waits: Callable[[], None]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waits()
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:  # some file systems of clusters have no locks
        text = f"{lock.name}: no lock ({error.strerror}); do not run the same twice at once"
        warnings.warn(Note(text), stacklevel=4)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
