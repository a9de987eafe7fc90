"""How large a network is: parameters, MACs, activations, file size, and their ratios.

Declared is the ratio a user asks for; measured are the ratios to the same detector, with the
same options and frames, at ratio 1.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import safetensors.torch
import torch
from torch import Tensor, nn

from kdbench.dataset import Batch
from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.measure.evaluating import evaluating
from kdbench.ops.macs import MacCounter

# Layers whose outputs are activations. A layer class of another kind (a sparse convolution) is
# counted as well when it has the attribute `counts_activations = True`.
LAYERS = (
    nn.Linear,
    nn.Conv1d, nn.Conv2d, nn.Conv3d,
    nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip


def compression(detector: Detector, full: Detector, batches: Iterable[Batch]) -> dict:
    """The figures of `network_size`, with `ratio` beside them.

    `full` is the same detector at ratio 1 (it may be `detector` itself). `ratio` holds `declared`
    and, measured, `parameters`, `macs` and `activations`.
    """
    batches = list(batches)
    size = network_size(detector, batches)
    whole = size if full is detector else network_size(full, batches)
    measured = {
        name: round(whole[name] / max(size[name], 1), 3)
        for name in ("parameters", "macs", "activations")
    }
    return size | {"ratio": {"declared": detector.ratio, **measured}}


def network_size(detector: Detector, batches: Iterable[Batch]) -> dict:
    """What a detector costs, its forward pass averaged over the frames of `batches`.

    Returns `parameters` (trainable), `macs` of one frame and their split `macs_by_stage` (by the
    detector's top-level modules; `other` is what runs outside of them), `macs_sparse`, those of
    them that depend on the frame: sparse convolutions, by their active pairs, `activations` of
    one frame, `file_bytes` and `frames`. Raises UsageError when there is no frame.
    """
    stages, sparse, activations, frames = {}, 0, 0, 0
    device = next(detector.parameters()).device
    with evaluating(detector), torch.no_grad():
        for batch in batches:
            inputs = detector.prepare(batch.to(device))
            with _stage_macs(detector, stages) as counter, _activations(detector) as outputs:
                detector(inputs)
            sparse += counter.declared
            activations += sum(outputs)
            frames += len(batch)
    if frames == 0:
        raise UsageError("no frames to count MACs on")
    stages = {name: round(macs / frames) for name, macs in stages.items()}
    return {
        "parameters": parameters(detector),
        "macs": sum(stages.values()),
        "macs_by_stage": stages,
        "macs_sparse": round(sparse / frames),
        "activations": round(activations / frames),
        "file_bytes": file_bytes(detector),
        "frames": frames,
    }


def parameters(module: nn.Module) -> int:
    """Trainable parameters of a module: a detector, or the adapters of a method."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def file_bytes(module: nn.Module) -> int:
    """Bytes of the module's state in the safetensors format."""
    state = {name: x.detach().cpu().contiguous() for name, x in module.state_dict().items()}
    return len(safetensors.torch.save(state))


@contextmanager
def _stage_macs(detector: Detector, stages: dict[str, int]) -> Iterator[MacCounter]:
    """Adds the MACs of what runs inside to `stages`, by top-level module; yields their counter."""
    start = {}

    def enter(name):
        start[name] = counter.macs

    def leave(name):
        stages[name] = stages.get(name, 0) + counter.macs - start[name]

    before = sum(stages.values())
    with MacCounter() as counter, _hooks() as handles:
        for name, child in detector.named_children():
            handles.append(child.register_forward_pre_hook(lambda *_, n=name: enter(n)))
            handles.append(child.register_forward_hook(lambda *_, n=name: leave(n)))
        yield counter
    other = counter.macs - (sum(stages.values()) - before)
    if other:
        stages["other"] = stages.get("other", 0) + other


@contextmanager
def _activations(module: nn.Module) -> Iterator[list[int]]:
    """A list to which every layer that runs inside adds the number of its outputs."""
    outputs = []
    with _hooks() as handles:
        for layer in module.modules():
            if isinstance(layer, LAYERS) or getattr(layer, "counts_activations", False):
                handles.append(
                    layer.register_forward_hook(lambda _, __, out: outputs.append(_elements(out)))
                )
        yield outputs


@contextmanager
def _hooks() -> Iterator[list]:
    """A list of hook handles that are removed at the end."""
    handles = []
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()


def _elements(output) -> int:
    """Elements of a layer's output: a tensor, or an object with `features` such as `Rows`."""
    return output.numel() if isinstance(output, Tensor) else output.features.numel()
