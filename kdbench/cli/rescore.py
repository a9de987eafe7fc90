"""`kdbench rescore`: metrics anew, from detections that runs left in the cache."""

from pathlib import Path

import click

from kdbench.cli.options import plugin_option
from kdbench.cli.output import console
from kdbench.dataset import Dataset
from kdbench.errors import KdbenchError
from kdbench.runs.records import Record, check_hash, read_records, write_record
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import load_detections
from kdbench.training.evaluate import score, teacher_detections
from kdbench.viewing.scene import frames_of


@click.command()
@click.option("--results", default="results", show_default=True, help="Folder of records.")
@click.option("--data-root", help="Folder of the data set, in KITTI's layout.")
@plugin_option
def rescore(results: str, data_root: str | None) -> None:
    """Compute the metrics of every record anew; nothing is trained.

    For records of an older version of the evaluation. A record whose detections are no longer in
    the cache, or whose frames have changed, stays as it is, and is named.
    """
    problems: list[str] = []
    frames = _Frames(data_root)
    records = read_records(Path(results), problems)
    left = len(problems)
    for problem in problems:
        console.print(f"left as it is: {problem}", soft_wrap=True, markup=False)
    for record in records:
        label = RunSpec.from_dict(record["spec"]).label
        try:
            _rescore(record, frames)
        except KdbenchError as error:
            console.print(f"{label}: left as it is: {error}", soft_wrap=True)
            left += 1
            continue
        console.print(f"{label}: {write_record(Path(results), record)}", soft_wrap=True)
    if left:
        raise KdbenchError(f"{left} records were left as they are")


def _rescore(record: Record, frames: "_Frames") -> None:
    """Puts new metrics into a record."""
    check_hash(record)
    spec = RunSpec.from_dict(record["spec"])
    found = load_detections(spec)
    dataset, point_range = frames.of(spec)
    record["metrics"] = score(dataset, found, point_range, teacher_detections(spec))
    record.setdefault("date", None)  # that of the run, which is not known, and not today's


class _Frames:
    """The frames of the last run asked for: most records of a folder share them."""

    def __init__(self, data_root: str | None):
        self.data_root, self.key, self.last = data_root, None, None

    def of(self, spec: RunSpec) -> tuple[Dataset, tuple[float, ...]]:
        """See `frames_of`. Raises DataError when the frames are not those of the run."""
        key = spec.dataset, spec.detector
        if key != self.key:
            self.last, self.key = frames_of(spec, self.data_root), key
        return self.last
