"""From a spec to the object it describes."""

from kdbench.detector import Detector
from kdbench.registry import detectors
from kdbench.registry.options import complete
from kdbench.runs.spec import DetectorSpec


def build_detector(spec: DetectorSpec, classes: tuple[str, ...]) -> Detector:
    """The detector of `spec` for `classes`, with new weights, on the CPU.

    Options that the spec leaves out keep their defaults. Raises UsageError for an unknown
    detector or option, and for a ratio below 1.
    """
    plugin = detectors.get(spec.name)
    options = complete(f"detector {spec.name!r}", plugin, spec.options)
    return plugin(tuple(classes), spec.ratio, **options)
