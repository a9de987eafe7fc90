"""`kdbench predict`: what a trained run detects, on its own data set or on another."""

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
from kdbench.runs.network import named_network
from kdbench.storage.files import write_text
from kdbench.training.data import build_dataset
from kdbench.training.evaluate import SPLITS, detect, kitti_results, score
from kdbench.training.progress import Reporter


@click.command()
@click.argument("network", metavar="NAME|RECORD")
@click.option("--dataset", help="Another data set  [the run's own].")
@click.option("--data-root", help="Folder of the data set, in KITTI's layout.")
@click.option("--split", type=click.Choice(list(SPLITS)), default="val", show_default=True)
@click.option("--out", metavar="DIR", help="Folder for KITTI result files, <id>.txt.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or auto.")
@dataset_set_option
@plugin_option
@json_option
def predict(network, dataset, data_root, split, out, device, assignments, json_file) -> None:
    """Detect with a trained network and score the detections.

    It is an imported one's NAME, or RECORD: the path of a run's record, or the name or hash of a
    published run. Of frames without labels the result files are written, and nothing is scored.
    """
    named = named_network(network)
    frames_of = datasets.get(named.on(dataset).dataset.name)
    spec = named.on(dataset, dataset_options(frames_of, assignments))
    detector = named.load()
    frames = build_dataset(spec, data_root)
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
