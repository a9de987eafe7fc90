"""Writing files so that a reader never sees half of one."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kdbench.errors import KdbenchError

FULL = (errno.ENOSPC, errno.EDQUOT)


class CannotWrite(KdbenchError):
    """A place that cannot be written; the message names it."""

    @classmethod
    def at(cls, path: Path | str, error: OSError) -> "CannotWrite":
        """What `error` says of a path; of a full disk also what to do."""
        full = "; make room there, and the same command goes on" if error.errno in FULL else ""
        return cls(f"{path}: cannot be written ({error.strerror or error}){full}")


def check_place(path: Path) -> None:
    """Raises CannotWrite when no file can be made at `path`; makes the folders above it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            return
    except OSError as error:
        raise CannotWrite.at(path, error) from None


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without error.

    Makes the folders above it. Raises CannotWrite when the place cannot be written, or is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise CannotWrite.at(path, error) from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise CannotWrite.at(path, error) from None
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Writes `text` to `path` by way of a temporary name."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path | str, data: bytes) -> None:
    """Writes `data` to `path` by way of a temporary name."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
