"""From a spec to the object it describes."""

from typing import Any

from kdbench.classes import Classes, ObjectClass
from kdbench.detector import Detector
from kdbench.errors import KdbenchError, UsageError
from kdbench.method import Method
from kdbench.registry import datasets, detectors, methods
from kdbench.registry.options import neutral_of, stored
from kdbench.runs.spec import DatasetSpec, DetectorSpec, MethodSpec
from kdbench.taps import TapSpecs


def classes_of(spec: DatasetSpec) -> tuple[ObjectClass, ...]:
    """What a network tells apart that is trained on a data set.

    Sizes may be open in a spec whose frames have not been looked at. Raises UsageError that says
    what is wrong with a table of classes.
    """
    return datasets.get(spec.name).kinds_of(spec.options)


def same_classes(spec: DatasetSpec, other: type) -> dict[str, Any]:
    """Options with which another data set has the classes of `spec`, if it can."""
    table = spec.options.get("classes")
    return {"classes": table} if table and "classes" in neutral_of(other) else {}


def build_detector(spec: DetectorSpec, classes: Classes) -> Detector:
    """The detector of `spec` for `classes`, with new weights, on the CPU.

    Options that the spec leaves out keep their defaults. Raises UsageError for an unknown
    detector or option, and for values of which it cannot be built.
    """
    plugin = detectors.get(spec.name)
    return _built("detector", plugin, spec.options, tuple(classes), spec.ratio)


def build_method(spec: MethodSpec, student: TapSpecs, teacher: TapSpecs) -> Method:
    """The method of `spec` between two networks, with new weights. Raises as `build_detector`."""
    return _built("method", methods.get(spec.name), spec.options, student, teacher)


def _built(what: str, plugin: type, given: dict[str, Any], *arguments):
    """A plugin's object. Values that it fails at are the user's to mend, whatever it raises."""
    what = f"{what} {plugin.name!r}"
    options = stored(what, plugin, given)
    try:
        return plugin(*arguments, **options)
    except KdbenchError:
        raise
    except Exception as error:
        usual = stored(what, plugin, {})
        unusual = [f"{k}={v!r}" for k, v in options.items() if v != usual[k]]
        with_these = f"with {', '.join(unusual) or 'its own defaults'}"
        raise UsageError(
            f"{what} cannot be built {with_these}: {type(error).__name__}: {error}"
        ) from error
