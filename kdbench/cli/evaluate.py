"""`kdbench evaluate`: KITTI average precision of a folder of result files."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from kdbench.cli.output import console, json_option, write_json
from kdbench.dataset import Dataset
from kdbench.datasets.label_rules import label_problems
from kdbench.errors import DataError
from kdbench.evaluation.difficulty import DIFFICULTIES
from kdbench.evaluation.kitti_ap import evaluate as kitti_ap
from kdbench.geometry import kitti_labels
from kdbench.geometry.kitti_labels import KittiObjects
from kdbench.storage.text import read_text


@click.command()
@click.option("--labels", metavar="DIR", required=True, help="KITTI label files, <id>.txt.")
@click.option("--predictions", metavar="DIR", required=True, help="KITTI result files, <id>.txt.")
@click.option(
    "--frames",
    "frames_file",
    metavar="FILE",
    help="Ids of the frames to evaluate, one a line; default: every frame with a label file.",
)
@json_option
def evaluate(labels: str, predictions: str, frames_file: str | None, json_file: str | None) -> None:
    """Score KITTI result files: 2D, orientation, BEV and 3D AP at 40 and 11 recall positions.

    Computed as KITTI's own development kit does. A frame without a result file has no
    detections.
    """
    frames = _listed_frames(frames_file) if frames_file else _frames_in(labels, "label")
    found = _read_predictions(predictions, frames)
    truth = _read_labels(labels, frames)
    for problem in label_problems(labels, f"{len(frames)} frames", truth, Dataset.classes):
        console.print(f"warning: {problem}", soft_wrap=True, markup=False)
    result = kitti_ap(truth, found)
    # Standard output is either the table or the JSON, never both.
    where = console if json_file == "-" else Console(highlight=False)
    where.print(ap_table(result, len(frames)))
    write_json(result, json_file)


def _frames_in(folder: str, what: str) -> list[str]:
    """The ids of the text files in `folder`, sorted."""
    try:
        frames = sorted(path.stem for path in Path(folder).iterdir() if path.suffix == ".txt")
    except OSError as error:
        raise DataError(f"{folder}: cannot be read as a folder ({error.strerror})") from None
    if not frames:
        raise DataError(f"{folder}: no {what} files (<id>.txt)")
    return frames


def _listed_frames(frames_file: str) -> list[str]:
    """The ids in `frames_file`, in its order."""
    frames = read_text(frames_file, "list of frames").split()
    if not frames:
        raise DataError(f"{frames_file}: lists no frames")
    return list(dict.fromkeys(frames))


def _read_labels(folder: str, frames: list[str]) -> dict[str, KittiObjects]:
    _frames_in(folder, "label")  # says so when the folder itself is missing
    return {frame: kitti_labels.read(f"{folder}/{frame}.txt") for frame in frames}


def _read_predictions(folder: str, frames: list[str]) -> dict[str, KittiObjects]:
    """The results of those frames that have a file; how many have none is said on stderr."""
    present = set(_frames_in(folder, "result"))
    with_result = [frame for frame in frames if frame in present]
    if not with_result:
        raise DataError(f"{folder}: no result file for any of the {len(frames)} frames")
    missing = len(frames) - len(with_result)
    if missing:
        console.print(
            f"{missing} of {len(frames)} frames have no result file: taken as no detections"
        )
    return {frame: kitti_labels.read(f"{folder}/{frame}.txt", scored=True) for frame in with_result}


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
