"""Latency of a detector: one frame at a time, one after the other (single stream, batch 1).

The boundary: from points on the device to boxes on the device. Reading a frame, bringing its
points to the device and taking its boxes back are outside; voxelisation and NMS are inside.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from kdbench.dataset import Batch
from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.measure.contention import Contention
from kdbench.measure.evaluating import evaluating

STAGES = ("voxelise", "network", "postprocess")  # Detector.prepare, forward and predict
PERCENTILES = (50, 90, 99)


def measure_latency(
    detector: Detector, batches: Sequence[Batch], device: torch.device, repeats: int, warmup: int
) -> dict:
    """Times each of `batches`, `repeats` times over, after `warmup` frames that do not count.

    Batches hold one frame each, best all distinct: caches flatter a frame seen before. A stage's
    time ends when the device has done its work; the whole is the sum of its stages. The detector
    is moved to `device`.

    Returns, in milliseconds: `mean`, `p50`, `p90`, `p99`, `stages` (p50 of `voxelise`, `network`
    and `postprocess`), `cpu` (p50 of the processor time of this process, all threads together)
    and `samples` (raw, frame by frame, pass after pass); besides `count` of samples, `frames`,
    `repeats`, `warmup`, `detections`, the mean number of boxes a frame, and `contention`, the
    cores that other programs used meanwhile (see `contention.py`).
    Raises UsageError for no batches, or one of several frames.
    """
    (found,) = measure_in_turns([detector], batches, device, repeats, warmup)
    return found


def measure_in_turns(
    detectors: Sequence[Detector],
    batches: Sequence[Batch],
    device: torch.device,
    repeats: int,
    warmup: int,
) -> list[dict]:
    """`measure_latency` of several detectors, which take turns frame by frame.

    So what disturbs one disturbs all, and sample i of each is of the same frame.
    """
    _check(batches, repeats, warmup)
    batches = [batch.to(device) for batch in batches]
    with ExitStack() as stack, torch.inference_mode():
        for detector in detectors:
            stack.enter_context(evaluating(detector.to(device)))
        for i in range(warmup):
            _time_turn(detectors, batches[i % len(batches)], device)
        contention = Contention()
        turns = [_time_turn(detectors, batch, device) for _ in range(repeats) for batch in batches]
        others = contention.cores()
    counts = {"frames": len(batches), "repeats": repeats, "warmup": warmup, "contention": others}
    return [_result(timed, counts) for timed in zip(*turns, strict=True)]


def _result(timed: Sequence["Timed"], counts: dict) -> dict:
    stages = np.array([t.stages for t in timed])  # (samples, stages)
    samples = stages.sum(axis=1)
    return {
        **summary(samples),
        "stages": dict(zip(STAGES, np.percentile(stages, 50, axis=0).tolist(), strict=True)),
        "cpu": float(np.median([t.cpu for t in timed])),
        "count": len(samples),
        **counts,
        "detections": float(np.mean([t.boxes for t in timed])),
        "samples": samples.tolist(),
    }


def summary(samples) -> dict[str, float]:
    """Mean and percentiles (linear between order statistics) of samples."""
    values = np.percentile(samples, PERCENTILES).tolist()
    percentiles = {f"p{p}": value for p, value in zip(PERCENTILES, values, strict=True)}
    return {"mean": float(np.mean(samples)), **percentiles}


@dataclass(frozen=True)
class Timed:
    """One frame."""

    stages: list[float]  # milliseconds
    cpu: float  # milliseconds of processor time
    boxes: int


def _time_turn(detectors, batch: Batch, device: torch.device) -> list[Timed]:
    return [_time_frame(detector, batch, device) for detector in detectors]


def _time_frame(detector: Detector, batch: Batch, device: torch.device) -> Timed:
    start = time.process_time()
    ticks = [_now(device)]
    inputs = detector.prepare(batch)
    ticks.append(_now(device))
    taps = detector(inputs)
    ticks.append(_now(device))
    detections = detector.predict(taps)
    ticks.append(_now(device))
    cpu = 1e3 * (time.process_time() - start)
    return Timed(_milliseconds(ticks), cpu, len(detections[0].boxes))


def _now(device: torch.device):
    """A tick: seconds, or on CUDA an event, which the device passes after what came before."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def _milliseconds(ticks: list) -> list[float]:
    """Milliseconds between ticks."""
    if isinstance(ticks[0], float):
        return (1e3 * np.diff(ticks)).tolist()
    ticks[-1].synchronize()
    return [a.elapsed_time(b) for a, b in pairwise(ticks)]


def _check(batches: Sequence[Batch], repeats: int, warmup: int) -> None:
    if not batches:
        raise UsageError("no frames to measure latency on")
    if any(len(batch) != 1 for batch in batches):
        raise UsageError("latency is measured at batch 1; give batches of one frame each")
    if repeats < 1 or warmup < 0:
        raise UsageError(f"repeats must be at least 1 and warm-up 0, not {repeats} and {warmup}")
