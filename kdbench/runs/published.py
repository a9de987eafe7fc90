"""What the project publishes with itself: records and weights, found by the hash of their spec.

They lie in `results/published` of the repository and in the package `kdbench.published` of an
installation, as in a results folder. Beside the record of a run lie

    seed<k>-<hash>.safetensors   its weights
                   .npz          what it detected on the validation frames
                   .md           a card for people
"""

from importlib.util import find_spec
from pathlib import Path

from kdbench.runs.records import Record, differences, find_record, read_records
from kdbench.runs.spec import RunSpec


def _folder() -> Path:
    package = find_spec("kdbench.published")
    return Path(next(iter(package.submodule_search_locations))) if package else Path("published")


FOLDER = _folder()


def record_of(spec: RunSpec) -> Record | None:
    """The published record of a run; None when it is not published."""
    return find_record(FOLDER, spec)


def records() -> list[Record]:
    """All published records."""
    return read_records(FOLDER) if FOLDER.is_dir() else []


def nearest(spec: RunSpec) -> tuple[Record, list[str]] | None:
    """The published teacher of a run's profile and detector that is least unlike `spec`.

    With it comes what differs, `train.steps 5000 -> 3000`. None where there is no such teacher.
    """
    found = []
    for record in records():
        other = RunSpec.from_dict(record["spec"])
        same = (other.profile, other.detector.name) == (spec.profile, spec.detector.name)
        if other.is_teacher and same:
            found.append((record, differences(other.to_dict(), spec.to_dict())))
    return min(found, key=lambda pair: len(pair[1]), default=None)


def weights_path(spec: RunSpec) -> Path:
    """Where the weights of a run are, if they are published."""
    return (FOLDER / spec.record_path).with_suffix(".safetensors")


def detections_path(spec: RunSpec) -> Path:
    """What a published run detected, if that is published."""
    return (FOLDER / spec.record_path).with_suffix(".npz")
