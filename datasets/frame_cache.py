"""Frames kept in memory, for training reads each of them once an epoch."""

import threading
from collections.abc import Callable

from kdbench.datasets.recording import Recording


class FrameCache:
    """Recordings by frame id, up to `max_bytes` of points; safe to use from several threads.

    Once full it keeps what it has. An epoch visits every frame once, so throwing out the oldest
    would throw out each frame just before it is wanted again.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self.bytes = 0
        self._kept: dict[str, Recording] = {}
        self._lock = threading.Lock()

    def get(self, frame_id: str, read: Callable[[str], Recording]) -> Recording:
        """The recording of `frame_id`, from memory or from `read(frame_id)`."""
        kept = self._kept.get(frame_id)
        if kept is not None:
            return kept
        recording = read(frame_id)
        with self._lock:
            size = recording.frame.points.nbytes
            if frame_id not in self._kept and self.bytes + size <= self.max_bytes:
                self._kept[frame_id] = recording
                self.bytes += size
        return recording
