"""What the steps of a training cost in time."""

import statistics
import time


class Meter:
    """Times steps, and how long they waited for data."""

    def __init__(self):
        self.steps: list[float] = []
        self.waits: list[float] = []
        self.waited = 0.0  # for the batch at hand
        self.frames = 0

    def waiting(self, batches):
        """The same batches, timing how long each was waited for."""
        batches = iter(batches)
        while True:
            started = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self.waited = time.perf_counter() - started
            self.waits.append(self.waited)
            yield batch

    def add(self, seconds: float, frames: int) -> None:
        """One step."""
        self.steps.append(seconds)
        self.frames += frames

    def summary(self) -> dict[str, float]:
        """Median seconds a step, its share of waiting, and frames a second in this process."""
        if not self.steps:
            return {"seconds_per_step": None, "data_wait_share": None, "frames_per_second": None}
        busy, waited = sum(self.steps), sum(self.waits)
        return {
            "seconds_per_step": round(statistics.median(self.steps), 6),
            "data_wait_share": round(waited / (busy + waited), 4),
            "frames_per_second": round(self.frames / (busy + waited), 3),
        }
