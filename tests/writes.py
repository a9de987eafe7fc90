"""What Python is about to write, by its audit events."""

import os

MOVING = ("os.rename", "os.link")
CHANGING = (*MOVING, "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.truncate")


def about_to_write(event: str, arguments: tuple) -> list[str]:
    """The paths that an event of `sys.addaudithook` writes, moves, makes or removes; or none."""
    if event == "open":
        flags = arguments[2]
        writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
        paths = arguments[:1] if isinstance(flags, int) and flags & writing else ()
    elif event in CHANGING:
        paths = arguments[:2] if event in MOVING else arguments[:1]
    else:
        return []
    return [os.fsdecode(p) for p in paths if isinstance(p, (str, bytes, os.PathLike))]
