"""What the project publishes with itself: records and weights, found by the hash of their spec.

They lie in `results/published` of the repository and in the package `kdbench.published` of an
installation, as in a results folder; the weights of a run beside its record.
"""

from importlib.util import find_spec
from pathlib import Path

from kdbench.runs.records import Record, find_record
from kdbench.runs.spec import RunSpec


def _folder() -> Path:
    package = find_spec("kdbench.published")
    return Path(next(iter(package.submodule_search_locations))) if package else Path("published")


FOLDER = _folder()


def record_of(spec: RunSpec) -> Record | None:
    """The published record of a run; None when it is not published."""
    return find_record(FOLDER, spec)


def weights_path(spec: RunSpec) -> Path:
    """Where the weights of a run are, if they are published."""
    return (FOLDER / spec.record_path).with_suffix(".safetensors")
