"""Latency of a detector: one frame at a time, one after the other (single stream, batch 1).

The boundary: from points on the device to boxes on the device. Reading a frame, bringing its
points to the device and taking its boxes back are outside; voxelisation and NMS are inside.
"""

import time
from collections.abc import Sequence

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

    Batches hold one frame each, best all distinct: caches flatter a frame seen before. The
    device is synchronised around every stage, so a stage's time is its own; the whole is the sum
    of its stages. The detector is moved to `device`.

    Returns, in milliseconds: `mean`, `p50`, `p90`, `p99`, `stages` (p50 of `voxelise`, `network`
    and `postprocess`) and `samples` (raw, frame by frame, pass after pass); besides `count` of
    samples, `frames`, `repeats`, `warmup`, `detections`, the mean number of boxes a frame, and
    `contention`, the cores that other programs used meanwhile (see `contention.py`).
    Raises UsageError for no batches, or one of several frames.
    """
    _check(batches, repeats, warmup)
    detector.to(device)
    batches = [batch.to(device) for batch in batches]
    with evaluating(detector), torch.inference_mode():
        for i in range(warmup):
            _time_frame(detector, batches[i % len(batches)], device)
        contention = Contention()
        timed = [_time_frame(detector, batch, device) for _ in range(repeats) for batch in batches]
        others = contention.cores()
    stages = np.array([times for times, _ in timed])  # (samples, stages)
    samples = stages.sum(axis=1)
    return {
        **summary(samples),
        "stages": dict(zip(STAGES, np.percentile(stages, 50, axis=0).tolist(), strict=True)),
        "count": len(samples),
        "frames": len(batches),
        "repeats": repeats,
        "warmup": warmup,
        "detections": float(np.mean([boxes for _, boxes in timed])),
        "contention": others,
        "samples": samples.tolist(),
    }


def summary(samples) -> dict[str, float]:
    """Mean and percentiles (linear between order statistics) of samples."""
    values = np.percentile(samples, PERCENTILES).tolist()
    percentiles = {f"p{p}": value for p, value in zip(PERCENTILES, values, strict=True)}
    return {"mean": float(np.mean(samples)), **percentiles}


def _time_frame(detector: Detector, batch: Batch, device) -> tuple[list[float], int]:
    """Milliseconds of each stage, and the number of boxes found."""
    ticks = [_now(device)]
    inputs = detector.prepare(batch)
    ticks.append(_now(device))
    taps = detector(inputs)
    ticks.append(_now(device))
    detections = detector.predict(taps)
    ticks.append(_now(device))
    return (1e3 * np.diff(ticks)).tolist(), len(detections[0].boxes)


def _now(device: torch.device) -> float:
    """Seconds, once the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _check(batches: Sequence[Batch], repeats: int, warmup: int) -> None:
    if not batches:
        raise UsageError("no frames to measure latency on")
    if any(len(batch) != 1 for batch in batches):
        raise UsageError("latency is measured at batch 1; give batches of one frame each")
    if repeats < 1 or warmup < 0:
        raise UsageError(f"repeats must be at least 1 and warm-up 0, not {repeats} and {warmup}")
