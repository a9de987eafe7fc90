"""What of a graph's inputs may vary."""

from torch import Tensor
from torch.export import Dim


def dynamic_shapes(example: dict[str, Tensor]) -> tuple[dict[int, Dim], ...]:
    """For each input: its first dimension is any number, the same for all."""
    length = Dim("n", min=0)
    return tuple({0: length} for _ in example)
