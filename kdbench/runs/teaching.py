"""Imported networks as teachers."""

from typing import Any

from kdbench.detector import Detector
from kdbench.errors import DataError, KdbenchError
from kdbench.runs import imported
from kdbench.runs.spec import RunSpec, TeacherSpec
from kdbench.storage.home import home


def teacher_named(name: str) -> TeacherSpec:
    """The imported network of a name as a teacher. Raises as `imported.describe`."""
    kept = imported.describe(name)
    return TeacherSpec(
        steps=0,
        detector=kept.spec.name,
        ratio=kept.spec.ratio,
        options=kept.spec.options,
        classes=kept.classes,
        weights=kept.weights,
    )


def adopt(run: RunSpec, network: Detector) -> dict[str, Any]:
    """Fills the network of an imported teacher's run; returns what its training cost, as far as
    that is known: nothing of it.

    It is found by its weights, whatever it is called here. Raises DataError when it is not here.
    """
    kept = _with_weights(run.weights)
    network.load_state_dict(imported.load(kept.name).state_dict())
    unknown = ("seconds", "seconds_per_step", "data_wait_share", "frames_per_second")
    unknown += ("peak_memory_bytes", "peak_memory_how")
    return {"steps": 0, "processes": 1, **dict.fromkeys(unknown), "imported": kept.description}


def _with_weights(weights: str) -> imported.Kept:
    for name in imported.names():
        try:
            kept = imported.describe(name)
        except KdbenchError:
            continue  # of another network
        if kept.weights == weights:
            return kept
    raise DataError(
        f"no network in {home() / 'imported'} has the weights {weights[:10]} of the imported "
        "teacher: `kdbench import` brings it in"
    )
