"""The order of integers on the CPU, by a radix sort: several times faster than comparing."""

import numpy as np
import torch
from numba import njit
from torch import Tensor

BITS = 11  # of a key at a time: 2,048 counters stay in the fastest cache
LAST = (1 << BITS) - 1


def stable_order(keys: Tensor) -> Tensor:
    """Order (n,) int64 that sorts keys (n,) int64, none below 0; equal ones as they come."""
    return torch.from_numpy(_order(keys.numpy()))


@njit(cache=True, nogil=True)
def _order(keys):
    order, other = np.arange(len(keys)), np.empty(len(keys), np.int64)
    largest = keys.max() if len(keys) else 0
    shift = 0
    while largest >> shift:
        ends = np.zeros(LAST + 2, np.int64)
        for key in keys:
            ends[(key >> shift & LAST) + 1] += 1
        ends = ends.cumsum()  # at first where each digit begins
        for place in order:
            digit = keys[place] >> shift & LAST
            other[ends[digit]] = place
            ends[digit] += 1
        order, other = other, order
        shift += BITS
    return order
