"""What a Python program can ask of kdbench: the functions that `import kdbench` gives.

Each does what the command of that name does, with the same defaults, and raises the same
KdbenchError of one line.
"""

import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from kdbench.class_table import parse_table
from kdbench.classes import KITTI
from kdbench.errors import KdbenchError as KdbenchError
from kdbench.errors import Note
from kdbench.evaluation.kitti_ap import evaluate as kitti_ap
from kdbench.evaluation.result_files import Source, read_labels, read_results
from kdbench.leaderboard.reading import readable
from kdbench.leaderboard.rows import leaderboard, with_own
from kdbench.leaderboard.tables import data_frame
from kdbench.measure.device import resolve_device
from kdbench.runs import publishing
from kdbench.runs.listing import method_rows
from kdbench.runs.lookup import Named
from kdbench.runs.model import Model
from kdbench.runs.model import Prediction as Prediction
from kdbench.runs.network import named_network
from kdbench.runs.records import Record
from kdbench.runs.settings import build_spec
from kdbench.runs.step_costs import read_step_costs
from kdbench.runs.teaching import teacher_named
from kdbench.training.progress import Reporter
from kdbench.training.run import Runner


def load_model(name_or_record: Named, *, device: str = "cpu") -> Model:
    """The trained detector of a run, or an imported one.

    `name_or_record` is the path of a run's record, a record as `run` returns it, the name or hash
    of a published run (`list_models`), or the name of an imported network; `device` is cpu, cuda
    or auto. The weights are those in KDBENCH_HOME or the published ones: just the ones that the
    record is of.

    Raises KdbenchError for a name that is unknown, and where the weights are not there.
    """
    network = named_network(name_or_record)
    return Model(network.load(), network.record, resolve_device(device))


def evaluate(
    labels: Source, predictions: Source, classes: dict[str, Any] | None = None
) -> dict[str, Any]:
    """KITTI AP in percent: class -> metric (bbox, aos, bev, 3d) -> "R40" and "R11" -> 3 values.

    Both are folders of KITTI files `<id>.txt`, or dictionaries: frame id -> text of such a file.
    The values are those at easy, moderate and hard; "aos" is None where an orientation is not
    known. Frames are those of `labels`; one without predictions has no detections. `classes` is a
    table of other classes than KITTI's three, as the option `dataset.classes`.

    Raises KdbenchError that names the file, or frame, and the line that cannot be read, or what is
    wrong with the classes.
    """
    kinds = KITTI if classes is None else parse_table(classes, "classes")
    truth = read_labels(labels, classes=kinds)
    return kitti_ap(truth, read_results(predictions, list(truth), kinds), kinds)


def run(
    *,
    method: str = "pointdistiller",
    detector: str = "pointpillars",
    ratio: float = 4.0,
    budget: float | str = 1,
    seed: int = 0,
    profile: str = "quick",
    dataset: str = "synthetic",
    teacher: str | None = None,
    teacher_detector: str | None = None,
    teacher_budget: float | str | None = None,
    data_root: str | Path | None = None,
    results: str | Path = "results",
    overrides: dict[str, Any] | None = None,
    device: str = "cpu",
    quiet: bool = False,
) -> Record:
    """Trains, evaluates and measures a student; its teacher and `none` when absent.

    `overrides` are the settings of `--set`: `{"train.steps": 900}`. `teacher` is the name of an
    imported network, in place of one that is trained. `teacher_detector` is the teacher's, without
    it that of the student: the two see the same cloud, and maps are resampled. `teacher_budget` is
    the teacher's, as `budget` is the student's. Returns the run's record, which also stands in the
    folder `results`; a run that is there already is not done again.

    Raises KdbenchError for a wrong name or value, damaged data, and a training that diverged.
    """
    spec = build_spec(
        profile=profile,
        dataset=dataset,
        detector=detector,
        method=method,
        ratio=ratio,
        seed=seed,
        device=resolve_device(device).type,
        budget=budget,
        overrides=overrides,
        teacher=None if teacher is None else teacher_named(teacher),
        teacher_detector=teacher_detector,
        teacher_budget=teacher_budget,
    )
    root = None if data_root is None else str(data_root)
    return Runner(Path(results), root, reporter=Reporter(quiet), device=spec.device).run(spec)


def read_leaderboard(folder: str | Path = "results") -> pd.DataFrame:
    """The leaderboard of a results folder: a line a row, with the columns of leaderboard.csv.

    A record that cannot be read is left out with a warning (`kdbench.errors.Note`). Raises
    KdbenchError where there is no record.
    """
    problems: list[str] = []
    records = readable(Path(folder), problems)
    for problem in problems:
        warnings.warn(f"left out: {problem}", Note, stacklevel=2)
    if not records:
        raise KdbenchError(f"{folder}: no records in it; `kdbench run` makes them")
    return data_frame(with_own(leaderboard(records, read_step_costs(Path(folder)))))


def list_models() -> list[dict[str, Any]]:
    """What is published with kdbench, as `kdbench zoo` lists it; `load_model` takes `name`."""
    return [entry.row() for entry in publishing.entries()]


def list_methods() -> list[dict[str, Any]]:
    """Every method: name, year, needs, options, and the detectors that it applies to."""
    return method_rows()
