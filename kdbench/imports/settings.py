"""What a checkpoint does not hold as tensors, and which every importer must know."""

from dataclasses import dataclass
from typing import Any

from kdbench.dataset import Dataset
from kdbench.errors import UsageError
from kdbench.registry.suggest import unknown


@dataclass(frozen=True)
class Settings:
    """Settings of a network, read from its project's configuration."""

    classes: tuple[str, ...]  # in the order of the file
    options: dict[str, Any]  # of kdbench's detector
    origin: str  # where they come from, in words
    legacy: bool = False  # of pillars: absolute coordinates were overwritten by offsets
    notes: tuple[str, ...] = ()  # lines that a user should read

    @property
    def order(self) -> list[int]:
        """For each class in kdbench's order its place in the file's."""
        for name in self.classes:
            if name not in Dataset.classes:
                raise UsageError(f"{self.origin}: {unknown('class', name, Dataset.classes)}")
        return sorted(
            range(len(self.classes)), key=lambda i: Dataset.classes.index(self.classes[i])
        )

    @property
    def own_classes(self) -> tuple[str, ...]:
        """The classes in kdbench's order."""
        return tuple(self.classes[i] for i in self.order)


def over(below: dict, above: dict) -> dict:
    """Nested dictionaries laid over each other; lists are replaced."""
    both = {
        k: over(below[k], v) if isinstance(v, dict) and isinstance(below.get(k), dict) else v
        for k, v in above.items()
    }
    return below | both


def look_up(config: dict, path: str, origin: str) -> Any:
    """The value under a dotted path of nested dictionaries. Raises UsageError if there is none."""
    value: Any = config
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            raise UsageError(f"{origin}: does not say {path}")
        value = value[name]
    return value


def floats(value: Any, count: int, what: str, origin: str) -> list[float]:
    """A list of `count` numbers. Raises UsageError for anything else."""
    try:
        found = [float(v) for v in value]
    except (TypeError, ValueError):
        found = []
    if len(found) != count:
        raise UsageError(f"{origin}: {what} must be {count} numbers, not {value!r}")
    return found


def voxel_options(detector: str, point_range, size, most: int, origin: str) -> dict[str, Any]:
    """The options of a grid of pillars or voxels, and of the cap on the points of a cell."""
    low_high = floats(point_range, 6, "the range of points", origin)
    size = floats(size, 3, "the size of a voxel", origin)
    options = {"point_range": low_high, "max_points": int(most)}
    if detector == "second":
        return options | {"voxel_size": size}
    if size[0] != size[1]:
        raise UsageError(f"{origin}: pillars must be as long as they are wide, not {size[:2]}")
    return options | {"pillar_size": size[0], "padding": int(most)}


def anchor_options(sizes, bottoms, rotations, at: str, first_bin: float) -> dict[str, Any]:
    """The option `anchors`, of classes in kdbench's order."""
    return {
        "anchors": {
            "sizes": [list(map(float, s)) for s in sizes],
            "bottoms": [float(b) for b in bottoms],
            "headings": [float(r) for r in rotations],
            "at": at,
            "first_bin": float(first_bin),
            "clamped": False,
        }
    }
