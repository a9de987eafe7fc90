"""Batch norm whose statistics are those of the whole batch, not of a process's share.

PyTorch's SyncBatchNorm works on CUDA alone; this one works wherever tensors can be summed over
processes, and also for norms that a detector has refined (few rows, no running statistics).
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdbench.training import processes


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _SumOverProcesses.forward(ctx, gradient)


def synced(*modules: nn.Module | None):
    """A context in which the batch norms in `modules` share statistics, in training mode.

    With one process nothing changes.
    """
    return nullcontext() if processes.size() == 1 else _synced(modules)


@contextmanager
def _synced(modules) -> Iterator[None]:
    norms = [m for module in modules if module for m in module.modules()]
    norms = [m for m in norms if isinstance(m, _BatchNorm)]
    for norm in norms:
        norm.forward = partial(_forward, norm)  # before the class's own
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _forward(norm: _BatchNorm, x: Tensor) -> Tensor:
    """(n, C, ...) normalised by mean and variance over all but C, of all processes."""
    if not norm.training:
        return type(norm).forward(norm, x)
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    mean, variance, count = statistics(wide)
    if norm.track_running_stats:
        few = count < 2  # no batch has a variance then: the running ones, as in the row norms
        mean = torch.where(few, norm.running_mean, mean)
        variance = torch.where(few, norm.running_var, variance)
        _track(norm, mean.detach(), (variance * count / (count - 1).clamp(min=1)).detach(), ~few)
    scale = torch.rsqrt(variance + norm.eps)
    scale = scale if norm.weight is None else norm.weight * scale
    shift = -mean * scale if norm.bias is None else norm.bias - mean * scale
    shape = (1, -1, *[1] * (x.dim() - 2))
    return torch.addcmul(shift.view(shape), wide, scale.view(shape)).to(x.dtype)


def statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and count of (n, C, ...) over all processes."""
    dims = [d for d in range(x.dim()) if d != 1]
    count = x.numel() // x.shape[1]
    mean = x.sum(dims) / max(count, 1)
    spread = (x - mean.view(1, -1, *[1] * (x.dim() - 2))).square().sum(dims)
    # In double precision the squared mean may be added here and taken off below.
    mean, spread = mean.double(), spread.double()
    sums = [mean * count, spread + mean.square() * count, mean.new_tensor([count])]
    total, squares, n = _SumOverProcesses.apply(torch.cat(sums)).split([len(mean)] * 2 + [1])
    n = n.clamp(min=1)
    mean = total / n
    return mean.to(x.dtype), (squares / n - mean.square()).clamp(min=0).to(x.dtype), n.to(x.dtype)


@torch.no_grad()
def _track(norm: _BatchNorm, mean: Tensor, variance: Tensor, enough: Tensor) -> None:
    """Moves the running statistics as PyTorch does, where there were `enough` values."""
    norm.num_batches_tracked += 1
    momentum = norm.momentum
    if momentum is None:  # a plain average over all batches
        momentum = 1.0 / float(norm.num_batches_tracked)
    for running, value in ((norm.running_mean, mean), (norm.running_var, variance)):
        running.copy_(torch.where(enough, torch.lerp(running, value, momentum), running))
