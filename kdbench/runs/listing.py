"""Methods, detectors and data sets as rows of a list, plugins included."""

from typing import Any

from kdbench.registry import datasets, detectors, methods
from kdbench.registry.options import defaults_of
from kdbench.runs.applicability import detectors_for, taps_by_detector


def method_rows() -> list[dict[str, Any]]:
    """A row a method: paper, year, needs, options, and the detectors it applies to."""
    taps = taps_by_detector()
    rows = []
    for name in methods.names():
        method = methods.get(name)
        rows.append(
            {
                "name": name,
                "year": method.paper.year if method.paper else None,
                "needs": list(method.needs),
                "teacher_needs": list(method.teacher_needs),
                "detectors": detectors_for(name, taps),
                "variants": list(method.variants),
                "paper": method.paper.title if method.paper else "",
                "options": defaults_of(method),
            }
        )
    return rows


def detector_rows() -> list[dict[str, Any]]:
    """A row a detector: paper, taps and options."""
    return [
        {
            "name": name,
            "paper": detectors.get(name).paper,
            "taps": list(taps),
            "options": defaults_of(detectors.get(name)),
        }
        for name, taps in taps_by_detector().items()
    ]


def dataset_rows() -> list[dict[str, Any]]:
    """A row a data set: what it is, its classes and options."""
    rows = []
    for name in datasets.names():
        dataset = datasets.get(name)
        rows.append(
            {
                "name": name,
                "about": _first_line(dataset),
                "classes": list(dataset.classes),
                "options": defaults_of(dataset),
            }
        )
    return rows


def _first_line(plugin: type) -> str:
    return (plugin.__doc__ or "").strip().splitlines()[0] if plugin.__doc__ else ""
