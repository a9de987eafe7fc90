"""A pytest plugin that gives a machine without a GPU one that is not there.

    PYTHONPATH=tests/fake_cuda FAKE_CUDA=built.so pytest -p fake_cuda -m cuda

Loads `device.cpp`, built, then replaces what of `torch.cuda` the project uses.
"""

import ctypes
import os
import sys
import threading
import time
from contextlib import contextmanager, nullcontext

assert "torch" not in sys.modules, "the device must be there before torch looks for it"
ctypes.CDLL(os.environ["FAKE_CUDA"], ctypes.RTLD_GLOBAL)

import torch  # noqa: E402
from fake_tensor import Device, FakeGpu  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402


class Event:
    """The time on the host, which computes everything."""

    def __init__(self, enable_timing=False):
        self.seconds = None

    def record(self, stream=None):
        self.seconds = time.perf_counter()

    def synchronize(self):
        Device.wait("event")

    def elapsed_time(self, other) -> float:
        return 1e3 * (other.seconds - self.seconds)


class Stream:
    """The only one."""

    def wait_stream(self, other):
        pass


class CUDAGraph:
    """Operations that were captured; `replay` does them again, on the same tensors."""

    def replay(self):
        for func, args, kwargs, results in self.operations:
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(results), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@contextmanager
def graph(captured: CUDAGraph):
    Device.recording = captured.operations = []
    try:
        yield
    finally:
        Device.recording = None


def set_sync_debug_mode(mode) -> None:
    Device.waits_are_errors = mode == "error"


def start() -> None:
    cuda = torch.cuda
    cuda._lazy_init = lambda: None
    cuda.is_available = lambda: True
    cuda.device_count = lambda: 1
    cuda.get_device_name = lambda device=None: "a fake"
    cuda.synchronize = lambda device=None: Device.wait("synchronize")
    cuda.reset_peak_memory_stats = lambda device=None: None
    cuda.max_memory_allocated = lambda device=None: 1 << 20
    cuda.current_stream = lambda device=None: Stream()
    cuda.stream = lambda stream: nullcontext()
    cuda.set_sync_debug_mode = set_sync_debug_mode
    cuda.Event, cuda.Stream, cuda.CUDAGraph, cuda.graph = Event, Stream, CUDAGraph, graph
    # A wrapped tensor cannot be one of inference mode; without gradients is what remains.
    torch.inference_mode = lambda mode=True: torch.no_grad() if mode else nullcontext()
    torch.__future__.set_swap_module_params_on_conversion(True)  # modules' parameters are wrapped
    enter()
    threading.Thread.run = _in_every_thread(threading.Thread.run)


def enter() -> None:
    """Gives this thread the device."""
    torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(x, device=...)` is a copy to there
    FakeGpu().__enter__()


def _in_every_thread(run):
    def wrapped(self):
        enter()
        run(self)

    return wrapped


start()
