"""`kdbench cost`: how large a detector is, without training it."""

from dataclasses import replace

import click

from kdbench.cli.measured import (
    classes_in,
    detector_options,
    detector_spec,
    input_frames,
    input_options,
    named_dataset,
    network_option,
    print_table,
    trained,
)
from kdbench.cli.output import json_option, write_json
from kdbench.measure.compression import compression
from kdbench.runs.build import build_detector
from kdbench.runs.settings import parse_overrides


@click.command()
@detector_options
@network_option
@input_options
@click.option("--frames", type=int, help="Frames to average over  [1 generated, 5 of a data set]")
@json_option
def cost(
    detector, ratio, profile, assignments, network, dataset, data_root, frames, json_file
) -> None:
    """Parameters, MACs, activations and file size of a detector; nothing is trained.

    MACs are counted from what runs on the input frames. Measured ratios are to the same detector
    at ratio 1 on the same frames.
    """
    if network:
        given = (detector, ratio, profile, assignments)
        named, data = trained(network, given, dataset, data_root)
        spec, network = named.detector, named.load()
    else:
        overrides = parse_overrides(assignments)
        spec = detector_spec(detector, ratio, profile, overrides)
        data = named_dataset(dataset, data_root, spec, profile, overrides)
        network = build_detector(spec, classes_in(data))
    whole = replace(spec, ratio=1.0)
    full = network if spec.ratio == 1 else build_detector(whole, network.kinds)
    if frames is None:
        frames = 5 if data else 1
    inputs = input_frames(data, network.point_range, frames)
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
    ratio, stages = result["ratio"], result["macs_by_stage"]
    print_table(
        f"{result['detector']} at ratio {ratio['declared']:g}, "
        f"{result['profile'] or 'published'} options",
        ("", "value", "ratio to full size"),
        [
            ("declared", "", f"{ratio['declared']:.2f}"),
            ("parameters", _millions(result["parameters"]), f"{ratio['parameters']:.2f}"),
            ("MACs", _billions(result["macs"]), f"{ratio['macs']:.2f}"),
            *((f"  {stage}", _billions(macs), "") for stage, macs in stages.items()),
            *_without_sparse(result),
            ("activations", _millions(result["activations"]), f"{ratio['activations']:.2f}"),
            ("file", f"{result['file_bytes'] / 1e6:.2f} MB", ""),
        ],
        f"MACs and activations of one frame, averaged over {result['input']}",
    )


def _without_sparse(result: dict) -> list[tuple[str, str, str]]:
    """MACs less those of sparse convolutions: what most papers state of such a detector."""
    sparse = result["macs_sparse"]
    return [("MACs, dense part", _billions(result["macs"] - sparse), "")] if sparse else []


def _millions(count: int) -> str:
    return f"{count / 1e6:.3f} M"


def _billions(count: int) -> str:
    return f"{count / 1e9:.3f} G"
