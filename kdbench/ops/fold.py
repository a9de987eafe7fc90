"""Batch norms folded into the linear layers before them: a pass less over each map."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LINEAR = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)


@torch.no_grad()
def fold_norms(module: nn.Module, run: Callable[[], object]) -> int:
    """Folds, in place, every batch norm that directly follows a linear layer; returns how many.

    `run` passes an example through `module` in evaluation mode and so shows what follows what,
    in whichever way the parts are called. The layer must give its output to the norm alone: this
    is not checked. Norms without running statistics stay, and so do those after layers of another
    kind, or after one that is used twice.
    """
    pairs = _pairs(module, run)
    for layer, norm in pairs:
        _fold(layer, norm)
        _replace(module, norm, nn.Identity())
    return len(pairs)


def _pairs(module: nn.Module, run: Callable[[], object]) -> list[tuple[nn.Module, nn.Module]]:
    """Layers and the norms that follow them, each used once in `run`."""
    made, followed, used = [], [], []  # outputs are kept, so that none takes another's identity

    def after(layer, _, output):
        made.append((layer, output, output._version))
        used.append(layer)

    def before(norm, inputs):
        used.append(norm)
        followed.extend(
            (layer, norm)
            for layer, output, version in made
            if output is inputs[0] and output._version == version
        )

    with _observing(module, after, before):
        run()
    return [pair for pair in followed if _foldable(*pair) and {used.count(m) for m in pair} == {1}]


@contextmanager
def _observing(module: nn.Module, after: Callable, before: Callable) -> Iterator[None]:
    """Calls `after` each linear layer and `before` each batch norm of `module`."""
    handles = []
    for part in module.modules():
        if isinstance(part, LINEAR):
            handles.append(part.register_forward_hook(after))
        elif isinstance(part, _BatchNorm):
            handles.append(part.register_forward_pre_hook(before))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _foldable(layer: nn.Module, norm: nn.Module) -> bool:
    grouped = isinstance(layer, TRANSPOSED) and layer.groups > 1
    return norm.running_mean is not None and norm.weight is not None and not grouped


def _fold(layer: nn.Module, norm: nn.Module) -> None:
    """Gives `layer` the scale and shift of `norm`; worked out in float64, rounded once."""
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    shift = norm.bias.double() - norm.running_mean.double() * scale
    if layer.bias is not None:
        shift += layer.bias.double() * scale
    axis = 1 if isinstance(layer, TRANSPOSED) else 0  # of the outputs
    along = [-1 if i == axis else 1 for i in range(layer.weight.dim())]
    weight = layer.weight.double() * scale.view(along)
    layer.weight = nn.Parameter(weight.to(layer.weight.dtype), requires_grad=False)
    layer.bias = nn.Parameter(shift.to(layer.weight.dtype), requires_grad=False)


def _replace(module: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
