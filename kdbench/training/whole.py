"""Taps of a whole batch, of which each process has computed its share.

Losses see these: their sums, their counts of positives and the similarities between frames are
those of one process, whatever the number of processes. The price is that the taps a loss looks at
travel between processes, and that each process computes the loss of all frames.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor

from kdbench.dataset import Batch
from kdbench.taps import Rows, Taps
from kdbench.training import processes
from kdbench.training.shares import is_shared, own_frames


def whole_taps(taps: Taps, batch: Batch) -> "Taps | WholeTaps":
    """The taps of a whole batch from those of this process's share, if it is shared."""
    if not is_shared(len(batch)):
        return taps
    return WholeTaps(taps, own_frames(len(batch)).start)


class WholeTaps(Mapping):
    """The taps of all processes, each joined when it is first asked for.

    Tensors are joined along their first dimension. Rows tell their frame in `coordinates`, other
    dataclasses of tensors in a field `frame`, if they do; both then count the batch's frames.
    """

    def __init__(self, taps, frames_before: int):
        """`frames_before` is how many frames of the batch lie in shares before this process's."""
        self.own, self.before = taps, frames_before
        self.joined = {}

    def __getitem__(self, name: str):
        if name not in self.joined:
            self.joined[name] = _join(self.own[name], self.before)
        return self.joined[name]

    def __contains__(self, name) -> bool:
        return name in self.own

    def __iter__(self):
        return iter(self.own)

    def __len__(self) -> int:
        return len(self.own)


def _join(tap, before: int):
    if isinstance(tap, Tensor):
        return joined(tap)
    if not is_dataclass(tap):
        return tap
    values = {f.name: getattr(tap, f.name) for f in fields(tap)}
    if isinstance(tap, Rows):
        frame = values["coordinates"].new_tensor([before, 0, 0])
        values["coordinates"] = values["coordinates"] + frame
    elif "frame" in values:
        values["frame"] = values["frame"] + before
    return replace(tap, **{name: _join(value, before) for name, value in values.items()})


def joined(x: Tensor) -> Tensor:
    """The tensors (n, ...) of all processes along the first dimension; n may differ.

    Differentiable under two conditions, which hold for losses of a whole batch: every process
    computes the same from the result, and gradients are averaged over processes.
    """
    return _Join.apply(x)


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        sizes = [torch.zeros(1, dtype=torch.long, device=x.device) for _ in range(processes.size())]
        dist.all_gather(sizes, sizes[0].new_tensor([len(x)]))
        sizes = [int(size) for size in sizes]
        ctx.begin, ctx.length = sum(sizes[: processes.number()]), len(x)
        plain = x.to(torch.uint8) if x.dtype is torch.bool else x  # gloo knows no bool
        padded = plain.new_zeros(max(sizes), *x.shape[1:])
        padded[: len(x)] = plain
        found = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(found, padded)
        return torch.cat([f[:n] for f, n in zip(found, sizes, strict=True)]).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        # All processes hold the same gradient; its sum over them is that of any, times their
        # number, which the average over processes takes out again.
        return gradient[ctx.begin : ctx.begin + ctx.length] * processes.size()
