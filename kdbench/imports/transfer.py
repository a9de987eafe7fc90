"""Tensors on their way from a checkpoint into a network, none of either side forgotten."""

from torch import Tensor, nn

from kdbench.errors import DataError
from kdbench.imports.checkpoint import Checkpoint

STATISTICS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
SHOWN = 4  # names in a message


class Transfer:
    """Tensors on their way from a file into a network."""

    def __init__(self, file: Checkpoint, network: nn.Module):
        self.file = file
        self.wanted = network.state_dict()
        self.given: dict[str, Tensor] = {}
        self.used: set[str] = set()

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A tensor of the file, float32. Raises DataError unless it is there in this shape."""
        value = self.file.tensor(name)
        if tuple(value.shape) != tuple(shape):
            raise DataError(
                f"{self.file.path}: {name} is {tuple(value.shape)}, expected {tuple(shape)}; is "
                "it this network, with these classes and settings?"
            )
        self.used.add(name)
        return value.float() if value.is_floating_point() else value

    def put(self, name: str, value: Tensor) -> None:
        """Sets a tensor of the network."""
        self.given[name] = value.to(self.wanted[name].dtype).reshape(self.wanted[name].shape)

    def copy(self, own: str, name: str) -> None:
        """A tensor of the file as one of the network, of the same shape."""
        self.put(own, self.take(name, self.wanted[own].shape))

    def norm(self, own: str, name: str) -> None:
        """All of a batch norm. A file may leave out how many batches it has seen."""
        for part in STATISTICS:
            if part == "num_batches_tracked" and f"{name}.{part}" not in self.file.tensors:
                self.put(f"{own}.{part}", self.wanted[f"{own}.{part}"])
            else:
                self.copy(f"{own}.{part}", f"{name}.{part}")

    def finish(self) -> tuple[dict[str, Tensor], list[str]]:
        """All tensors of the network, and names in the file that it has no use for.

        Raises DataError for weights of the file that have no place in the network.
        """
        left = {k: v for k, v in self.file.tensors.items() if k not in self.used}
        weights = [name for name, value in left.items() if value.is_floating_point()]
        if weights:
            shown = ", ".join(weights[:SHOWN]) + (", ..." if len(weights) > SHOWN else "")
            raise DataError(
                f"{self.file.path}: holds {len(weights)} tensors that this network has no place "
                f"for: {shown}"
            )
        assert set(self.given) == set(self.wanted), set(self.wanted) - set(self.given)
        return self.given, [*left, *self.file.others]
