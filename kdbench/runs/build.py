"""From a spec to the object it describes."""

from kdbench.detector import Detector
from kdbench.method import Method
from kdbench.registry import detectors, methods
from kdbench.registry.options import stored
from kdbench.runs.spec import DetectorSpec, MethodSpec
from kdbench.taps import TapSpecs


def build_detector(spec: DetectorSpec, classes: tuple[str, ...]) -> Detector:
    """The detector of `spec` for `classes`, with new weights, on the CPU.

    Options that the spec leaves out keep their defaults. Raises UsageError for an unknown
    detector or option, and for a ratio below 1.
    """
    plugin = detectors.get(spec.name)
    options = stored(f"detector {spec.name!r}", plugin, spec.options)
    return plugin(tuple(classes), spec.ratio, **options)


def build_method(spec: MethodSpec, student: TapSpecs, teacher: TapSpecs) -> Method:
    """The method of `spec` between two networks, with new weights."""
    kind = methods.get(spec.name)
    return kind(student, teacher, **stored(f"method {spec.name!r}", kind, spec.options))
