"""Which methods a detector can take: what they need against the taps it provides."""

from kdbench.registry import detectors, methods
from kdbench.runs.build import build_detector
from kdbench.runs.spec import DetectorSpec
from kdbench.taps import TapSpecs, missing


def taps_of(detector: str) -> TapSpecs:
    """The taps of a detector with its default options; its weights are made as small as can be."""
    return build_detector(DetectorSpec(detector, 256.0), ("Car",)).taps


def taps_by_detector() -> dict[str, TapSpecs]:
    """Taps of every detector, by name."""
    return {name: taps_of(name) for name in detectors.names()}


def detectors_for(method: str, taps: dict[str, TapSpecs]) -> list[str]:
    """The detectors among `taps` that have what a method needs."""
    return [name for name, own in taps.items() if not missing(methods.get(method).needs, own)]
