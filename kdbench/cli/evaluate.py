"""`kdbench evaluate`: KITTI average precision of a folder of result files."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from kdbench.class_table import parse_table
from kdbench.classes import KITTI, names_of
from kdbench.cli.output import console, json_option, write_json
from kdbench.datasets.label_rules import label_problems
from kdbench.evaluation.difficulty import DIFFICULTIES
from kdbench.evaluation.kitti_ap import evaluate as kitti_ap
from kdbench.evaluation.result_files import listed_frames, read_labels, read_results
from kdbench.storage.reading import read_yaml


@click.command()
@click.option("--labels", metavar="DIR", required=True, help="KITTI label files, <id>.txt.")
@click.option("--predictions", metavar="DIR", required=True, help="KITTI result files, <id>.txt.")
@click.option(
    "--frames",
    "frames_file",
    metavar="FILE",
    help="Ids of the frames to evaluate, one a line; default: every frame with a label file.",
)
@click.option(
    "--classes",
    "classes_file",
    metavar="FILE.yaml",
    help="A table of classes, see docs/data.md  [KITTI's three].",
)
@json_option
def evaluate(
    labels: str,
    predictions: str,
    frames_file: str | None,
    classes_file: str | None,
    json_file: str | None,
) -> None:
    """Score KITTI result files: 2D, orientation, BEV and 3D AP at 40 and 11 recall positions.

    Computed as KITTI's own development kit does. A frame without a result file has no
    detections.
    """
    frames = listed_frames(frames_file) if frames_file else None
    classes = parse_table(read_yaml(Path(classes_file)), classes_file) if classes_file else KITTI
    truth = read_labels(labels, frames, classes)
    for problem in label_problems(labels, f"{len(truth)} frames", truth, names_of(classes)):
        console.print(f"warning: {problem}", soft_wrap=True, markup=False)
    result = kitti_ap(truth, read_results(predictions, list(truth), classes), classes)
    # Standard output is either the table or the JSON, never both.
    where = console if json_file == "-" else Console(highlight=False)
    where.print(ap_table(result, len(truth)))
    write_json(result, json_file)


def ap_table(result: dict, frames: int) -> Table:
    """The result of `evaluation.kitti_ap.evaluate` as a table."""
    table = Table(title=f"KITTI AP in percent over {frames} frames")
    table.add_column("class")
    table.add_column("metric")
    for recall in ("R40", "R11"):
        for difficulty in DIFFICULTIES:
            table.add_column(f"{recall}\n{difficulty}", justify="right")
    for name, metrics in result.items():
        for metric, value in metrics.items():
            numbers = (
                ["-"] * 6 if value is None else [f"{x:.2f}" for x in value["R40"] + value["R11"]]
            )
            table.add_row(name, metric, *numbers)
        table.add_section()
    return table
