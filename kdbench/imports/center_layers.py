"""OpenPCDet's head for centres of objects, of one group of classes."""

from kdbench.errors import DataError
from kdbench.imports.checkpoint import Checkpoint
from kdbench.imports.settings import Settings
from kdbench.imports.transfer import Transfer

SHARED, BRANCHES = "dense_head.shared_conv", "dense_head.heads_list.0"
# A branch of kdbench's head -> its name there.
NAMES = {"heat": "hm", "offset": "center", "z": "center_z", "size": "dim", "heading": "rot"}
NORM_EPS = 1e-5


def head_width(file: Checkpoint) -> int:
    """The channels of the head. Raises DataError for heads of other data sets."""
    if any(name.startswith("dense_head.heads_list.1.") for name in file.tensors):
        raise DataError(
            f"{file.path}: its head has several groups of classes, as for nuScenes; only one group "
            "can be imported"
        )
    return file.shape(f"{SHARED}.0.weight")[0]


def fill_center_head(t: Transfer, settings: Settings) -> None:
    """The shared layer and all branches."""
    _block(t, "head.shared", SHARED)
    for own, name in NAMES.items():
        _block(t, f"head.branches.{own}.0", f"{BRANCHES}.{name}.0")
        for part in ("weight", "bias"):
            target = f"head.branches.{own}.1.{part}"
            value = t.take(f"{BRANCHES}.{name}.1.{part}", t.wanted[target].shape)
            t.put(target, value[_order(own, settings)])


def _order(branch: str, settings: Settings) -> list[int] | slice:
    """For each output of a branch its place there."""
    if branch == "heat":
        return settings.order
    return [1, 0] if branch == "heading" else slice(None)  # cosine, sine there


def _block(t: Transfer, own: str, name: str) -> None:
    """A convolution and its norm; a bias between them is the norm's mean, moved."""
    t.copy(f"{own}.0.weight", f"{name}.0.weight")
    t.norm(f"{own}.1", f"{name}.1")
    if f"{name}.0.bias" in t.file.tensors:
        mean = t.given[f"{own}.1.running_mean"]
        bias = t.take(f"{name}.0.bias", mean.shape)
        t.put(f"{own}.1.running_mean", mean - bias)
