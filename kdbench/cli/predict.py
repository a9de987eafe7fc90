"""`kdbench predict`: what a trained run detects, on its own data set or on another."""

from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from kdbench.cli.evaluate import ap_table
from kdbench.cli.options import dataset_options, dataset_set_option, plugin_option
from kdbench.cli.output import console, json_option, write_json
from kdbench.dataset import Dataset
from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.geometry import kitti_labels
from kdbench.geometry.kitti_labels import KittiObjects
from kdbench.measure.device import resolve_device
from kdbench.registry import datasets
from kdbench.runs.build import same_classes
from kdbench.runs.records import read_record
from kdbench.runs.spec import DatasetSpec, RunSpec
from kdbench.runs.store import load_recorded
from kdbench.storage.files import write_text
from kdbench.training.data import build_dataset
from kdbench.training.evaluate import SPLITS, detect, kitti_results, score
from kdbench.training.progress import Reporter


@click.command()
@click.argument("record", metavar="RECORD.json")
@click.option("--dataset", help="Another data set  [the run's own].")
@click.option("--data-root", help="Folder of the data set, in KITTI's layout.")
@click.option("--split", type=click.Choice(list(SPLITS)), default="val", show_default=True)
@click.option("--out", metavar="DIR", help="Folder for KITTI result files, <id>.txt.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or auto.")
@dataset_set_option
@plugin_option
@json_option
def predict(record, dataset, data_root, split, out, device, assignments, json_file) -> None:
    """Detect with the weights of a run and score the detections.

    RECORD.json is a run's record, as `kdbench run` writes it below the results folder. Of frames
    without labels the result files are written, and nothing is scored.
    """
    found_record = read_record(Path(record))
    spec = RunSpec.from_dict(found_record["spec"])
    detector = load_recorded(found_record)
    frames = build_dataset(_on(spec, dataset, assignments), data_root)
    _check_classes(detector, frames)
    labelled = all(frames.labelled(each) for each in SPLITS[split])
    if not labelled and not out:
        raise UsageError(f"the split {split} has no labels to score against: give --out DIR")
    frames.preflight(SPLITS[split], labels=labelled)
    target = resolve_device(device)
    found = detect(detector.to(target), frames, target, Reporter(), split)
    if out:
        _write_results(Path(out), kitti_results(frames, found))
    if not labelled:
        console.print(f"the split {split} has no labels: there is nothing to score against")
        write_json({"frames": len(found), "kitti": None}, json_file)
        return
    metrics = score(frames, found, detector.point_range)
    write_json(metrics, json_file)
    if json_file != "-":
        Console(highlight=False).print(ap_table(metrics["kitti"], metrics["frames"]))


def _check_classes(detector: Detector, frames: Dataset) -> None:
    if detector.classes != frames.classes:
        found, wanted = (", ".join(x.classes) for x in (detector, frames))
        raise UsageError(f"the run detects {found}; the data set {frames.name} is of {wanted}")


def _write_results(folder: Path, results: dict[str, KittiObjects]) -> None:
    for frame_id, objects in results.items():
        write_text(folder / f"{frame_id}.txt", kitti_labels.format_rows(objects, scored=True))
    console.print(f"wrote {len(results)} result files to {folder}", soft_wrap=True)


def _on(spec: RunSpec, dataset: str | None, assignments: tuple[str, ...]) -> RunSpec:
    """The run's detector on its own data set, or on another and all of its frames."""
    frames = spec.dataset
    if dataset is not None:
        frames = DatasetSpec(dataset, same_classes(spec.dataset, datasets.get(dataset)))
    given = dataset_options(datasets.get(frames.name), assignments)
    return replace(spec, dataset=replace(frames, options=frames.options | given))
