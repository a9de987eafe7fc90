"""Memory that the C library keeps for the process after a tensor is freed.

glibc asks the system for every block above 32 MiB and gives it back when it is freed, so each
large tensor pays for fresh, zeroed pages again: a full-size PointPillars map has 52 MiB, the
grouped points of a hundred PointRCNN proposals 100 MiB.
"""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h
NEVER = 2**31 - 1  # bytes free at the top of the heap from which they are given back


def keep_freed() -> bool:
    """Has freed blocks kept for the next ones of the process; False where there is no glibc."""
    library = _glibc()
    if library is None:
        return False
    return bool(library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, NEVER))


def give_back_freed() -> None:
    """Gives what is free at this moment back to the system; nothing happens without glibc."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
