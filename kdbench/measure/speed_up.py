"""A detector beside its version for inference alone (`inference.py`)."""

import time
from collections.abc import Sequence

import numpy as np
import torch

from kdbench.dataset import Batch
from kdbench.detector import Detector
from kdbench.measure.evaluating import evaluating
from kdbench.measure.inference import Options, fused, largest_difference
from kdbench.measure.latency import measure_in_turns


def ready(
    detector: Detector, options: Options, example: Batch, device: torch.device
) -> tuple[Detector, float]:
    """The fast version of `detector` on `device`, and the seconds until its first frame is done."""
    example = example.to(device)
    start = time.perf_counter()
    fast = fused(detector.to(device), example, options)
    with torch.inference_mode():
        fast.predict(fast(fast.prepare(example)))
    return fast, time.perf_counter() - start


def speed_up(
    plain: Detector,
    fast: Detector,
    batches: Sequence[Batch],
    device: torch.device,
    repeats: int,
    warmup: int,
) -> tuple[dict, dict]:
    """The `measure_latency` of both, taken in turns.

    The second holds besides: `ratio`, the median over frames of plain to fast, `ratio_cpu`, that
    of their processor times, and `difference`, the largest of the head's outputs on a frame.
    """
    slow, quick = measure_in_turns([plain, fast], batches, device, repeats, warmup)
    return slow, quick | {
        "ratio": float(np.median(np.divide(slow["samples"], quick["samples"]))),
        "ratio_cpu": slow["cpu"] / max(quick["cpu"], 1e-9),
        "difference": max(_difference(plain, fast, batch.to(device)) for batch in batches),
    }


def _difference(plain: Detector, fast: Detector, batch: Batch) -> float:
    with evaluating(plain), torch.inference_mode():
        inputs = plain.prepare(batch)
        return largest_difference(plain(inputs), fast(inputs))
