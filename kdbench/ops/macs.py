"""Counting multiply-accumulates (MACs) of what really runs.

PyTorch sees its own convolutions and matrix products. It does not see what an external kernel
does, nor how much of a matrix product is padding, so such an operator declares its MACs itself:

    with declared_macs(active_pairs * inputs * outputs):
        ...  # the work, by whatever kernels
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.utils.flop_counter import FlopCounterMode

_active: list["MacCounter"] = []


class MacCounter:
    """Counts the MACs of everything that runs inside `with MacCounter() as counter`.

    Counted are convolutions, transposed convolutions, matrix products and attention, at the
    shapes with which they run, and what operators declare. Normalisation, activations, pooling
    and element-wise work are not, as is usual in the field.
    """

    def __init__(self):
        self.declared = 0  # MACs of those counted that operators declared, as their own
        self._flops = FlopCounterMode(display=False)
        self._correction = 0  # declared MACs, less what PyTorch saw of the same work

    def __enter__(self) -> "MacCounter":
        self._flops.__enter__()
        _active.append(self)
        return self

    def __exit__(self, *error) -> None:
        _active.remove(self)
        self._flops.__exit__(*error)

    @property
    def macs(self) -> int:
        """MACs so far; may be read while counting."""
        return self._flops.get_total_flops() // 2 + self._correction  # one MAC is two FLOPs


@contextmanager
def declared_macs(count: int, own: bool = True) -> Iterator[None]:
    """Counts the work inside as `count` MACs, in place of what PyTorch sees of it.

    Where it is an ordinary product, done in another way, they are not the operator's `own`.
    Costs nothing while no one counts.
    """
    before = [counter.macs for counter in _active]
    yield
    for counter, start in zip(_active, before, strict=True):
        counter._correction += start + int(count) - counter.macs
        counter.declared += int(count) if own else 0


def counting() -> bool:
    """Whether anyone counts: for operators whose MACs take work to find out."""
    return bool(_active)
