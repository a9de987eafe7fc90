"""Ctrl-C and SIGTERM during a training."""

import signal
import time
from collections.abc import Callable
from contextlib import contextmanager

ONE_STOP = 2.0  # seconds; a terminal and torchrun both pass one Ctrl-C on


@contextmanager
def interruptible():
    """Yields a function that says whether Ctrl-C (or SIGTERM) came.

    So that a training stops between two steps, where it can be saved. A second one, when more
    than ONE_STOP later, stops at once.
    """
    came = []

    def handler(signum, frame):
        if came and time.monotonic() - came[0] > ONE_STOP:
            raise KeyboardInterrupt
        came.append(time.monotonic())

    try:
        before = {s: signal.signal(s, handler) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: then there is nothing to catch
        yield lambda: False
        return
    interrupted: Callable[[], bool] = lambda: bool(came)  # noqa: E731
    try:
        yield interrupted
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)
