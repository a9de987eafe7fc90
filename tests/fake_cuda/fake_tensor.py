"""Tensors that say they are on a GPU, and are computed on the CPU.

To PyTorch's dispatcher they are CUDA tensors, so autograd, autocast and every `.is_cuda` take the
way that they take on a GPU. What a GPU would refuse is refused: operations between the two
devices, `numpy()`. What a GPU does and a CPU does not is counted: kernels, copies, waits.
"""

import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
ROOT = str(Path(__file__).parents[2])
aten = torch.ops.aten
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}
BETWEEN_DEVICES = {aten._to_copy.default, aten.copy_.default, *INDEXING}
# The size of the result, or the result, is in values that the host has to ask for.
WAITING = {
    aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default,
    aten._unique2.default, aten.unique_dim.default, aten.unique_consecutive.default,
    aten.bincount.default, aten.equal.default, aten.is_nonzero.default,
}  # fmt: skip


@dataclass
class Counts:
    """What was asked of the device, by the line of the project that asked."""

    kernels: Counter = field(default_factory=Counter)
    uploads: Counter = field(default_factory=Counter)
    waits: Counter = field(default_factory=Counter)


class Device:
    """The state of the device."""

    counts = Counts()
    waits_are_errors = False
    recording: list | None = None  # the operations of a graph that is being captured

    @classmethod
    def wait(cls, why: str) -> None:
        """Notes that the host waits; a RuntimeError while a graph is captured."""
        if cls.waits_are_errors or cls.recording is not None:
            raise RuntimeError(f"called a synchronizing operation: {why}, {_line()}")
        cls.counts.waits[_line()] += 1


@contextmanager
def counting():
    """Yields the counts of what is done inside."""
    before, Device.counts = Device.counts, Counts()
    try:
        yield Device.counts
    finally:
        Device.counts = before


class OnGpu(torch.Tensor):
    """A tensor of the device; `held` has its values."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held, requires_grad=False):
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, layout=held.layout, device=GPU, requires_grad=requires_grad,
        )  # fmt: skip

    def __init__(self, held, requires_grad=False):
        self.held = held

    def __repr__(self):
        return f"OnGpu({self.held})"

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            new = OnGpu(self.held.clone(), self.requires_grad)
            is_parameter = isinstance(self, torch.nn.Parameter)
            memo[id(self)] = torch.nn.Parameter(new, self.requires_grad) if is_parameter else new
        return memo[id(self)]

    def numpy(self, *args, **kwargs):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def tolist(self):
        Device.wait("tolist")
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class FakeGpu(TorchDispatchMode):
    """While active, tensors can be made on and copied to the device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _run(func, args, kwargs):
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    there = [x for x in tensors if isinstance(x, OnGpu)]
    target = kwargs.get("device") and torch.device(kwargs["device"])
    _check(func, args, tensors, there)
    _count(func, args, kwargs, there, target)
    bare_args, bare = tree_map(_held, args), tree_map(_held, kwargs)
    if target:
        bare["device"] = CPU
    result = func(*bare_args, **bare)
    if there and torch.Tag.inplace_view in func.tags:
        with no_dispatch():  # the wrapper takes the new shape too
            func(*args, **kwargs)
    if func is aten.copy_.default:
        on_gpu = isinstance(args[0], OnGpu)
    else:
        on_gpu = target.type == "cuda" if target else bool(there)
    if not on_gpu:
        return result
    if Device.recording is not None:
        Device.recording.append((func, bare_args, bare, result))
    known = {id(x.held): x for x in there}  # of operations in place: the same tensor
    return tree_map(lambda x: _wrapped(x, known), result)


def _wrapped(x, known):
    if not isinstance(x, torch.Tensor):
        return x
    return known[id(x)] if id(x) in known else OnGpu(x)


def _held(x):
    return x.held if isinstance(x, OnGpu) else x


def _check(func, args, tensors, there) -> None:
    """Refuses what a GPU refuses; numbers of the CPU are welcome."""
    here = [x for x in tensors if not isinstance(x, OnGpu)]
    mixed = there and any(x.dim() for x in here) and func not in BETWEEN_DEVICES
    if mixed or (func in INDEXING and there and not isinstance(args[0], OnGpu)):
        raise RuntimeError(f"{func}: expected all tensors on one device, {_line()}")


def _count(func, args, kwargs, there, target) -> None:
    if func is aten._to_copy.default and target and not there and target.type == "cuda":
        Device.counts.uploads[_line()] += 1
    if not there:
        return
    if func not in VIEWS:
        VIEWS[func] = _is_view(func)
    if not VIEWS[func]:
        Device.counts.kernels[_line()] += 1
    sized = func is aten.repeat_interleave.Tensor and kwargs.get("output_size") is None
    back = func is aten._to_copy.default and target == CPU
    back |= func is aten.copy_.default and not isinstance(args[0], OnGpu)
    if func in WAITING or sized or back or (func in INDEXING and _selects_by_mask(args)):
        Device.wait(str(func))


def _selects_by_mask(args) -> bool:
    """Whether indices are to be found in masks; filling one mask with a number is done without."""
    masks = [x for x in args[1] if x is not None and x.dtype in (torch.bool, torch.uint8)]
    fills = len(args) > 2 and len(args[1]) == 1 and args[2].numel() == 1
    return bool(masks) and not fills


VIEWS: dict = {}


def _is_view(func) -> bool:
    aliases = [x.alias_info for x in func._schema.returns]
    return any(x is not None and not x.is_write for x in aliases) or "_unsafe_view" in str(func)


def _line() -> str:
    """The innermost line of the project outside the tests, or else of the tests."""
    frame, of_tests = sys._getframe(1), None
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(ROOT) and ".venv" not in path and "fake_cuda/fake_" not in path:
            line = f"{path[len(ROOT) + 1 :]}:{frame.f_lineno}"
            if not line.startswith("tests"):
                return line
            of_tests = of_tests or line
        frame = frame.f_back
    return of_tests or "backward"
