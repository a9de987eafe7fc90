"""`kdbench rescore`: metrics anew, from detections that runs left in the cache."""

from pathlib import Path

import click

from kdbench.build import build_detector
from kdbench.cli.options import plugin_option
from kdbench.cli.output import console
from kdbench.errors import DataError, KdbenchError
from kdbench.records import read_records, write_record
from kdbench.registry import datasets
from kdbench.spec import RunSpec
from kdbench.training.data import build_dataset
from kdbench.training.evaluate import score
from kdbench.training.store import load_detections


@click.command()
@click.option("--results", default="results", show_default=True, help="Folder of records.")
@click.option("--data-root", help="Folder of the data set, in KITTI's layout.")
@plugin_option
def rescore(results: str, data_root: str | None) -> None:
    """Compute the metrics of every record anew; nothing is trained.

    For records of an older version of the evaluation. A record whose detections are no longer in
    the cache stays as it is, and is named.
    """
    left = 0
    for record in read_records(Path(results)):
        spec = RunSpec.from_dict(record["spec"])
        try:
            found = load_detections(spec)
        except DataError as error:
            console.print(f"{spec.label}: left as it is: {error}", soft_wrap=True)
            left += 1
            continue
        dataset = build_dataset(spec, data_root)
        point_range = build_detector(
            spec.detector, datasets.get(spec.dataset.name).classes
        ).point_range
        record["metrics"] = score(dataset, found, point_range)
        console.print(f"{spec.label}: {write_record(Path(results), record)}", soft_wrap=True)
    if left:
        raise KdbenchError(f"{left} records were left as they are")
