"""Where the time of a frame goes: preparation, each top-level part of the network, prediction."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from kdbench.dataset import Batch
from kdbench.detector import Detector
from kdbench.measure.evaluating import evaluating


def stage_times(
    detector: Detector, batches: Sequence[Batch], device: torch.device, warmup: int = 3
) -> dict[str, float]:
    """Median milliseconds of each stage over frames, one a batch, in the order in which they run.

    Stages are `prepare`, the detector's top-level modules by name, `other` (the rest of its
    forward pass) and `predict`. On CUDA the device is waited for around each, which costs time of
    its own: the sum is more than a frame takes.
    """
    detector.to(device)
    frames = [batch.to(device) for batch in batches]
    with evaluating(detector), torch.inference_mode():
        for i in range(warmup):
            _time_frame(detector, frames[i % len(frames)], device)
        timed = [_time_frame(detector, frame, device) for frame in frames]
    return {name: 1e3 * float(np.median([t.get(name, 0.0) for t in timed])) for name in timed[0]}


def _time_frame(detector: Detector, batch: Batch, device) -> dict[str, float]:
    """Seconds of each stage."""
    start = _now(device)
    inputs = detector.prepare(batch)
    stages = {"prepare": _now(device) - start}
    start = _now(device)
    with _timing(detector, stages, device):
        taps = detector(inputs)
    network = _now(device) - start
    stages["other"] = network - (sum(stages.values()) - stages["prepare"])
    start = _now(device)
    detector.predict(taps)
    stages["predict"] = _now(device) - start
    return stages


@contextmanager
def _timing(detector: Detector, stages: dict[str, float], device) -> Iterator[None]:
    """Adds to `stages` the seconds that each top-level module takes."""
    start, handles = {}, []

    def enter(name):
        start[name] = _now(device)

    def leave(name):
        stages[name] = stages.get(name, 0.0) + _now(device) - start[name]

    for name, child in detector.named_children():
        handles.append(child.register_forward_pre_hook(lambda *_, n=name: enter(n)))
        handles.append(child.register_forward_hook(lambda *_, n=name: leave(n)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _now(device: torch.device) -> float:
    """Seconds, once the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
