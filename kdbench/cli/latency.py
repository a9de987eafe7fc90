"""`kdbench latency`: how fast a detector is, one frame at a time."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

from kdbench.build import build_detector
from kdbench.cli.measured import (
    detector_options,
    detector_spec,
    input_frames,
    input_options,
    open_dataset,
    run_spec,
)
from kdbench.cli.output import console, json_option, write_json
from kdbench.dataset import Dataset
from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.measure.device import resolve_device
from kdbench.measure.environment import environment
from kdbench.measure.inputs import Inputs
from kdbench.measure.latency import measure_latency
from kdbench.spec import RunSpec, parse_overrides


@click.command()
@detector_options
@click.option("--run", "record", metavar="RECORD.json", help="A trained run: its weights and data.")
@input_options
@click.option("--frames", default=50, show_default=True, help="Distinct frames.")
@click.option("--repeats", default=2, show_default=True, help="Times each frame is measured.")
@click.option("--warmup", default=5, show_default=True, help="Frames before that do not count.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:<i>.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads  [torch's choice]")
@json_option
def latency(
    detector, ratio, profile, assignments, record, dataset, data_root,
    frames, repeats, warmup, device, threads, json_file,
) -> None:  # fmt: skip
    """Latency at batch 1, from points on the device to boxes on the device.

    Without --run the weights are random.
    """
    place = resolve_device(device)
    if record:
        if any((detector, ratio, profile, assignments, dataset)):
            raise UsageError(
                "--run says which detector and data; leave out --detector, --ratio, --profile, "
                "--set and --dataset"
            )
        network, inputs, name = _trained(record, data_root, frames)
    else:
        overrides = parse_overrides(assignments)
        spec = detector_spec(detector, ratio, profile, overrides)
        run = run_spec(spec, dataset, profile, overrides) if dataset else None
        network, inputs = _random(spec, run, data_root, frames)
        name = f"{spec.name} at ratio {spec.ratio:g}, {profile or 'published'} options"
    with _threads(threads), console.status("measuring"):
        measured = measure_latency(network, inputs.batches, place, repeats, warmup)
        where = environment(place)
    result = {
        "detector": name,
        "weights": "trained" if record else "random",
        "input": inputs.description,
        "environment": where,
        "latency_ms": measured,
    }
    write_json(result, json_file)
    if json_file != "-":
        _show(result)
    if not record:
        console.print(
            "note: random weights find an unrealistic number of boxes, so post-processing is not "
            "what a trained detector takes; measure one with --run RECORD.json",
            soft_wrap=True,
        )


def _random(spec, run: RunSpec | None, data_root, frames: int) -> tuple[Detector, Inputs]:
    """A new network, and frames of the run's data set or generated ones."""
    data = open_dataset(run, data_root) if run else None
    network = build_detector(spec, (data or Dataset).classes)
    return network, input_frames(data, network.point_range, frames)


def _trained(record: str, data_root, frames: int) -> tuple[Detector, Inputs, str]:
    """The network of a run with its weights, val frames of its data set, and its label."""
    from kdbench.training.store import load_trained

    spec = _spec_of(record)
    data = open_dataset(spec, data_root)
    network = load_trained(spec)
    return network, input_frames(data, network.point_range, frames), spec.label


def _spec_of(record: str) -> RunSpec:
    try:
        return RunSpec.from_dict(json.loads(Path(record).read_text())["spec"])
    except OSError as error:
        raise UsageError(f"--run {record}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"--run {record}: not the record of a run") from None


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Torch's CPU threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _show(result: dict) -> None:
    measured, where = result["latency_ms"], result["environment"]
    table = Table(
        "", "ms",
        title=f"{result['detector']}, {result['weights']} weights",
        caption=(
            f"batch 1, {measured['count']} samples on {result['input']}; "
            f"{where['device']}, {where['threads']} CPU threads; "
            f"{measured['detections']:.1f} boxes a frame"
        ),
    )  # fmt: skip
    table.columns[1].justify = "right"
    for name in ("p50", "p90", "p99", "mean"):
        table.add_row(name, f"{measured[name]:.2f}")
    for stage, value in measured["stages"].items():
        table.add_row(f"  {stage} p50", f"{value:.2f}")
    Console(highlight=False).print(table)
