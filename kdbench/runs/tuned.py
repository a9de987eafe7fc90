"""The factors on methods' losses that `kdbench tune` found, one file a detector and method.

Published weights were found for other losses, maps and batches; a benchmark that took them as they
are would compare weights, not methods. `tuned/<detector>/<method>.json` holds what was tried with
one and the same budget for all, what came of it, and the factor that is the default since.
"""

from pathlib import Path
from typing import Any

from kdbench.errors import UsageError
from kdbench.registry import methods
from kdbench.storage.form import NUMBER, Maybe, OrNone, misfit
from kdbench.storage.reading import read_json

FOLDER = Path(__file__).parent / "tuned"
_SOME = OrNone(NUMBER)
FORM = {
    "method": str,
    "scale": NUMBER,
    "published_share": _SOME,
    "helps": Maybe(bool),
    "candidates": [{"name": str, "scale": NUMBER, "bev_map": _SOME, "3d_map": _SOME}],
}
ZERO = {"bev_map": NUMBER, "3d_map": NUMBER, "noise": NUMBER}  # what students without a method did


def tuned_name(method: str, variant: str | None) -> str:
    """The name under which a method's factor is kept: a variant that is not the default has its
    own."""
    default = (methods.get(method).variants or (None,))[0]
    return method if variant in (None, default) else f"{method}-{variant}"


def tuned_scale(detector: str, method: str, variant: str | None = None) -> float:
    """The factor on a method's losses; 1, the published weights, where none was found."""
    return outcome(detector, method, variant).get("scale", 1.0)


def is_switched_down(detector: str, method: str, scale: float, variant: str | None = None) -> bool:
    """Whether a factor is the one that was taken because no other was better than 0."""
    found = outcome(detector, method, variant)
    tried = len(found.get("candidates", [])) > 1  # beside 0
    return tried and not found.get("helps", True) and scale == found["scale"]


def outcome(detector: str, method: str, variant: str | None = None) -> dict[str, Any]:
    """What `kdbench tune` wrote of a method; empty where it was not tuned."""
    path = FOLDER / detector / f"{tuned_name(method, variant)}.json"
    return read_tuned(path) if path.exists() else {}


def read_tuned(path: Path, form: dict = FORM) -> dict:
    """What `kdbench tune` wrote to a file. Raises UsageError that names a damaged one."""
    found = read_json(path)
    if problem := misfit(found, form):
        raise UsageError(f"{path}: not what `kdbench tune` writes, {problem}: remove it")
    if any(not scale >= 0 for scale in (found.get("scale", 0.0), found.get("noise", 0.0))):
        raise UsageError(f"{path}: scale and noise are 0 or more: remove it")
    return found
