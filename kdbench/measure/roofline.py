"""How much of what the device can do a detector uses (Williams et al., "Roofline", CACM 2009).

The peak is no figure of a data sheet but what a large matrix product and a large copy reach on
the device, in the precision and with the threads of the measurement.
"""

import time
from dataclasses import dataclass

import torch

SIZE = 1024  # of the square matrices
COPIED = 1 << 25  # elements: more than caches hold
ROUNDS = 5


@dataclass(frozen=True)
class Peak:
    """What the device reaches."""

    macs: float  # a second, of a matrix product
    bytes: float  # a second, read and written, of a copy


def measured_peak(device: torch.device, dtype: torch.dtype = torch.float32) -> Peak:
    """The best of ROUNDS rounds."""
    a = torch.ones(SIZE, SIZE, device=device, dtype=dtype)
    source = torch.zeros(COPIED, device=device)
    target = torch.empty_like(source)
    product = _best_seconds(lambda: a @ a, device)
    copy = _best_seconds(lambda: target.copy_(source), device)
    return Peak(SIZE**3 / product, 2 * source.nbytes / copy)


def attained(size: dict, seconds: float, peak: Peak) -> dict:
    """The shares of the peak that a frame attains, from its `network_size` and its seconds.

    Bytes are the fewest there can be without keeping a map in the cache: float32 weights read,
    every activation written and read once. `bound` is the share of the time that the nearer of
    the two roofs alone would take; `by` says which that is.
    """
    moved = 4 * (size["parameters"] + 2 * size["activations"])
    needed = {"compute": size["macs"] / peak.macs, "memory": moved / peak.bytes}
    by = max(needed, key=needed.get)
    return {
        "macs_per_second": size["macs"] / seconds,
        "bytes_per_second": moved / seconds,
        "peak_macs_per_second": peak.macs,
        "peak_bytes_per_second": peak.bytes,
        "bound": needed[by] / seconds,
        "by": by,
    }


def _best_seconds(work, device: torch.device) -> float:
    times = []
    for _ in range(ROUNDS + 1):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
