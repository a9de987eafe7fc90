"""Reading a public checkpoint: never unpickled, only its tensors and plain values are taken."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdbench.errors import DataError, UsageError
from kdbench.registry.suggest import unknown

PLACES = ("model_state", "state_dict")  # where a file keeps its tensors, if not on its own
# Format -> how names of some of its tensors begin.
FORMATS = {
    "openpcdet": ("backbone_2d.", "backbone_3d.", "dense_head.", "point_head."),
    "mmdet3d": ("backbone.", "bbox_head.", "voxel_encoder.", "middle_encoder."),
}
PLAIN = (
    "in the project that wrote it, load the file and save its tensors and plain values alone, such "
    "as torch.save({'state_dict': ..., 'meta': ...}, 'plain.pth')"
)


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds."""

    path: Path
    format: str
    tensors: dict[str, Tensor]
    meta: dict[str, Any]  # what else the file says of itself
    others: tuple[str, ...] = ()  # names among those of the tensors that are of something else

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor. Raises DataError when it is not there."""
        return tuple(self.tensor(name).shape)

    def tensor(self, name: str) -> Tensor:
        """A tensor. Raises DataError, with the nearest name there is, when it is not there."""
        if name not in self.tensors:
            raise DataError(f"{self.path}: lacks {name}{self._near(name)}")
        return self.tensors[name]

    def _near(self, name: str) -> str:
        hint = unknown("tensor", name, self.tensors).partition("; did you mean ")[2]
        return f" (the nearest is {hint.split('?')[0]})" if hint else ""


def read_checkpoint(path: Path, format: str | None = None) -> Checkpoint:
    """The tensors of a file, and which project's it is (`format` says so, or else their names).

    Raises DataError for a file that is missing, damaged, would have to be unpickled, or is of no
    format known here.
    """
    if format is not None and format not in FORMATS:
        raise UsageError(unknown("format", format, FORMATS))
    content = _load(path)
    if not isinstance(content, Mapping):
        raise DataError(f"{path}: holds a {type(content).__name__}, not a dictionary of tensors")
    tensors = next((content[place] for place in PLACES if place in content), content)
    if not isinstance(tensors, Mapping):
        raise DataError(f"{path}: what it calls its state is no dictionary of tensors")
    others = tuple(str(k) for k, v in tensors.items() if not isinstance(v, Tensor))
    others = others if tensors is not content else ()
    tensors = {str(k): v for k, v in tensors.items() if isinstance(v, Tensor)}
    meta = content.get("meta")
    meta = dict(meta) if isinstance(meta, Mapping) else {}
    return Checkpoint(path, format or _format_of(path, tensors), tensors, meta, others)


def _load(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "eights only" in str(error) or "eights_only" in str(error):
            raise DataError(
                f"{path}: holds objects that only unpickling could load, and that may run code; "
                f"{PLAIN}"
            ) from None
        raise DataError(f"{path}: damaged, or no file of torch.save") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # a damaged file fails in any way
        raise DataError(
            f"{path}: damaged, or no file of torch.save ({type(error).__name__})"
        ) from None


def _format_of(path: Path, tensors: dict[str, Tensor]) -> str:
    """The format whose tensors a file has most of, and any."""
    counts = {
        name: sum(key.startswith(beginnings) for key in tensors)
        for name, beginnings in FORMATS.items()
    }
    best = max(counts, key=counts.get)
    if not counts[best]:
        raise DataError(
            f"{path}: no checkpoint of {' or '.join(FORMATS)}: no tensor is named as theirs are"
        )
    return best
