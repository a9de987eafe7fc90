"""What a student takes from a teacher that was imported: all that says what both compute with.

The inputs are prepared once for both, so grid and caps on points must be the same; codes of boxes
and directions mean something at anchors alone, so those must be the same too. What a student does
not take: widths, which are its ratio's, and `padding`, with which nothing can be trained.
"""

from typing import Any

from kdbench.classes import names_of
from kdbench.errors import UsageError
from kdbench.registry import detectors
from kdbench.registry.options import stored
from kdbench.runs.build import classes_of
from kdbench.runs.spec import DatasetSpec, TeacherSpec

OWN = {"widths": [], "padding": 0}  # options that are not inherited -> what a student has


def inherited(teacher: TeacherSpec) -> dict[str, Any]:
    """The options of a student of an imported teacher, those at a neutral value too."""
    plugin = detectors.get(teacher.detector)
    options = stored(f"detector {teacher.detector!r}", plugin, teacher.options)
    return options | {name: value for name, value in OWN.items() if name in options}


def check_student(teacher: TeacherSpec, options: dict[str, Any]) -> None:
    """Raises UsageError where options of a student are not those that it inherits."""
    own = stored(f"detector {teacher.detector!r}", detectors.get(teacher.detector), options)
    for name, value in inherited(teacher).items():
        if name != "widths" and own[name] != value:
            raise UsageError(
                f"detector.{name} is {own[name]!r}, but a student of this imported teacher has "
                f"{value!r}: leave it out"
            )


def check_fits(teacher: TeacherSpec, detector: str, dataset: DatasetSpec) -> None:
    """Raises UsageError for an imported teacher that is not of the detector that is to teach.

    And for one of other classes than those of the data set.
    """
    if detector != teacher.detector:
        raise UsageError(
            f"teacher: it is a network of {teacher.detector}, not of {detector}; to teach students "
            f"of another detector: --teacher-detector {teacher.detector}"
        )
    check_classes("teacher", teacher.classes, dataset)


def check_classes(what: str, classes: tuple[str, ...], dataset: DatasetSpec) -> None:
    """Raises UsageError for a network of other classes than a data set's, or in another order."""
    wanted = names_of(classes_of(dataset))
    if classes != wanted:
        raise UsageError(
            f"{what}: it knows the classes {', '.join(classes)}; those of the data set "
            f"{dataset.name!r} are {', '.join(wanted)}"
        )
