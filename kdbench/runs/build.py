"""From a spec to the object it describes."""

from typing import Any

from kdbench.detector import Detector
from kdbench.errors import KdbenchError, UsageError
from kdbench.method import Method
from kdbench.registry import detectors, methods
from kdbench.registry.options import stored
from kdbench.runs.spec import DetectorSpec, MethodSpec
from kdbench.taps import TapSpecs


def build_detector(spec: DetectorSpec, classes: tuple[str, ...]) -> Detector:
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
