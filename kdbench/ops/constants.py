"""Numbers of the code that tensors are computed with."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def constant(values: Sequence[float], like: Tensor) -> Tensor:
    """`values` as a tensor (n,) of the type and on the device of `like`; not to be written to.

    Made once: `like.new_tensor(values)` copies to a GPU each time, which waits in some cases.
    """
    return _made(tuple(values), like.dtype, like.device)


@lru_cache(maxsize=256)
def _made(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # so that a training may use what inference made
        return torch.tensor(values, dtype=dtype, device=device)
