"""Whether a run can be carried out at all, before anything of it is."""

from kdbench.classes import unit_sized
from kdbench.registry import methods
from kdbench.runs.build import build_detector, build_method, classes_of
from kdbench.runs.spec import RunSpec
from kdbench.taps import require
from kdbench.training.aligned import as_teacher, check_teacher, shown_to_method


def check_applicable(spec: RunSpec) -> None:
    """Raises NotApplicable when the run's detector lacks what its method needs.

    And UsageError when a network or the method cannot be built of its options: the method is not
    until its teacher is trained, which is late to be told.
    """
    method = methods.get(spec.method.name)
    classes = unit_sized(classes_of(spec.dataset))
    student = build_detector(spec.detector, classes)
    require(method.name, method.needs, spec.detector.name, student.taps)
    teacher = None
    if spec.teacher:
        teacher = as_teacher(build_detector(spec.teacher.network, classes), student)
        check_teacher(spec.method, student, teacher)
    build_method(spec.method, *shown_to_method(student, teacher))
