"""`kdbench cost`: how large a detector is, without training it."""

from dataclasses import replace

import click
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
from kdbench.cli.output import json_option, write_json
from kdbench.dataset import Dataset
from kdbench.measure.compression import compression
from kdbench.spec import parse_overrides


@click.command()
@detector_options
@input_options
@click.option("--frames", type=int, help="Frames to average over  [1 generated, 10 of a data set]")
@json_option
def cost(detector, ratio, profile, assignments, dataset, data_root, frames, json_file) -> None:
    """Parameters, MACs, activations and file size of a detector; nothing is trained.

    MACs are counted from what runs on the input frames. Measured ratios are to the same detector
    at ratio 1 on the same frames.
    """
    overrides = parse_overrides(assignments)
    spec = detector_spec(detector, ratio, profile, overrides)
    data = None
    if dataset:
        data = open_dataset(run_spec(spec, dataset, profile, overrides), data_root)
    classes = (data or Dataset).classes
    network = build_detector(spec, classes)
    full = network if spec.ratio == 1 else build_detector(replace(spec, ratio=1.0), classes)
    inputs = input_frames(data, network.point_range, (10 if data else 1) if frames is None else frames)
    result = {
        "detector": spec.name,
        "profile": profile,
        "options": spec.options,
        "input": inputs.description,
        **compression(network, full, inputs.batches),
    }
    write_json(result, json_file)
    if json_file != "-":
        _show(result)


def _show(result: dict) -> None:
    ratio = result["ratio"]
    options = result["profile"] or "published"
    table = Table(
        "", "value", "ratio to full size",
        title=f"{result['detector']} at ratio {ratio['declared']:g}, {options} options",
        caption=f"MACs and activations of one frame, averaged over {result['input']}",
    )  # fmt: skip
    table.columns[1].justify = table.columns[2].justify = "right"
    table.add_row("declared", "", f"{ratio['declared']:.2f}")
    table.add_row("parameters", _millions(result["parameters"]), f"{ratio['parameters']:.2f}")
    table.add_row("MACs", _billions(result["macs"]), f"{ratio['macs']:.2f}")
    for stage, macs in result["macs_by_stage"].items():
        table.add_row(f"  {stage}", _billions(macs), "")
    table.add_row("activations", _millions(result["activations"]), f"{ratio['activations']:.2f}")
    table.add_row("file", f"{result['file_bytes'] / 1e6:.2f} MB", "")
    Console(highlight=False).print(table)


def _millions(count: int) -> str:
    return f"{count / 1e6:.3f} M"


def _billions(count: int) -> str:
    return f"{count / 1e9:.3f} G"
