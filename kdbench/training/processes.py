"""The processes of one run: `torchrun --nproc-per-node N -m kdbench run ...`.

Process 0 leads. It decides what is to be trained, evaluates, measures, and it alone writes and
speaks. The others follow: they wait, and take part in each training that it announces (see
`follow.py`). Without torchrun there is one process, and nothing here does anything.

All processes must see KDBENCH_HOME, the data set and `--plugin` files under the same paths.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from kdbench.errors import KdbenchError, UsageError
from kdbench.runs.spec import RunSpec

# Followers wait for as long as the leader evaluates; torchrun ends them if it dies.
PATIENCE = timedelta(days=7)
LOST = ("gloo", "nccl", "connection", "peer")  # words in the error of a collective that failed


class ProcessLost(KdbenchError):
    """Another process of the run has ended; it has said why."""


def launched() -> bool:
    """Whether torchrun started this process as one of several."""
    return dist.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1


def size() -> int:
    """The number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def number() -> int:
    """This process's own number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def leads() -> bool:
    """Whether this is process 0."""
    return number() == 0


@contextmanager
def joined() -> Iterator[None]:
    """The processes that torchrun started, joined: by gloo on the CPU, and by NCCL on CUDA.

    Where there are GPUs, each process takes the one of its number on its machine.
    """
    if not launched():
        yield
        return
    local = int(os.environ.get("LOCAL_RANK", 0))
    has_gpu = local < torch.cuda.device_count()
    if has_gpu:
        torch.cuda.set_device(local)
    dist.init_process_group("cpu:gloo,cuda:nccl" if has_gpu else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def check(spec: RunSpec, device: str) -> None:
    """Raises UsageError when a run cannot be shared among the processes there are."""
    if spec.train.batch_size < size():
        raise UsageError(
            f"train.batch_size is {spec.train.batch_size}: too few frames for {size()} processes"
        )
    gpus = torch.cuda.device_count()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if size() > 1 and device == "cuda" and gpus < local:
        raise UsageError(f"{local} processes on this machine, but {gpus} GPUs")


def gathered(value: Any) -> list[Any]:
    """What each process gave, in the order of their numbers; any value that can be pickled."""
    if size() == 1:
        return [value]
    values = [None] * size()
    dist.all_gather_object(values, value)
    return values


def call(spec: RunSpec, device: torch.device) -> None:
    """The leader announces a training; returns in all processes when all are ready for it.

    Raises the KdbenchError of a process that is not.
    """
    if leads():
        from_leader((spec, device.type))
    raise_any(None)


def dismiss() -> None:
    """The leader announces that all is done."""
    from_leader(None)


def raise_any(error: KdbenchError | None) -> None:
    """Raises, in every process, the first error that one of them has."""
    for found in gathered(error):
        if isinstance(found, KdbenchError):
            raise found


def check_equal(value: Any, problem: str) -> None:
    """Raises KdbenchError when processes have different values; `problem` says what that means."""
    if len(set(gathered(value))) > 1:
        raise KdbenchError(f"the processes of this run {problem}")


def from_leader(value: Any = None) -> Any:
    """The leader's value, in every process."""
    if size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def anywhere(flag: bool) -> bool:
    """Whether the flag is up in any process: what they then do, they do at the same step."""
    if size() == 1:
        return flag
    up = torch.tensor(int(flag))
    dist.all_reduce(up, dist.ReduceOp.MAX)
    return bool(up)


class _Together(nn.Module):
    """What DDP wraps: all that is trained, with the losses as its output."""

    def __init__(self, losses: Callable, *trained: nn.Module):
        super().__init__()
        self.losses, self.trained = losses, nn.ModuleList(trained)
        # DDP is told to look for unused parameters, and complains where there are none.
        self.unused = nn.Parameter(torch.zeros(1, device=next(trained[0].parameters()).device))

    def forward(self, *arguments):
        return self.losses(*arguments)


def averaging(losses: Callable, *trained: nn.Module) -> Callable:
    """The same function, whose backward pass averages the gradients of `trained` over processes.

    `losses` returns tensors in a dictionary. Parameters that no process has used keep no
    gradient. With one process it is `losses` itself.
    """
    if size() == 1:
        return losses
    with warnings.catch_warnings():
        # `broadcast_buffers` has another name from PyTorch 2.13 on, which 2.11 does not know.
        warnings.simplefilter("ignore", FutureWarning)
        # Statistics are kept equal by `synced_norm`, other buffers by equal computing.
        return nn.parallel.DistributedDataParallel(
            _Together(losses, *trained), broadcast_buffers=False, find_unused_parameters=True
        )


@contextmanager
def losing() -> Iterator[None]:
    """Turns the error of talking to a process that is gone into ProcessLost."""
    try:
        yield
    except RuntimeError as error:
        if size() > 1 and any(word in str(error).lower() for word in LOST):
            raise ProcessLost("another process of this run has ended; see what it said") from error
        raise
