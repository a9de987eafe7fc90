"""`kdbench export`: a trained detector as a file that runs without kdbench."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from kdbench.cli.measured import open_dataset
from kdbench.cli.options import plugin_option
from kdbench.cli.output import console, json_option, write_json
from kdbench.errors import UsageError
from kdbench.export import openpcdet
from kdbench.export.export import card_path, export, format_named
from kdbench.export.parity import MAPS, Parity
from kdbench.export.smaller import Form
from kdbench.measure.inputs import spread
from kdbench.runs.network import named_network

FRAMES = 50


@click.command(name="export")
@click.argument("network", metavar="NAME|RECORD")
@click.option("--format", "kind", metavar="FORMAT", default="onnx", show_default=True,
              help="onnx (extra `export`), pt2 (torch.export) or openpcdet.")  # fmt: skip
@click.option("--out", metavar="FILE", required=True,
              help="The file; its card, or its YAML, goes beside it.")  # fmt: skip
@click.option("--opset", type=int, metavar="N", help="Of ONNX, from 18  [18].")
@click.option("--half", is_flag=True, help="Of ONNX: beside it a file in float16.")
@click.option("--int8", is_flag=True, help="Of ONNX: beside it one with convolutions in int8.")
@click.option("--frames", type=click.IntRange(1), default=FRAMES, show_default=True,
              help="Val frames on which file and detector are compared.")  # fmt: skip
@click.option("--dataset", help="Whose frames; an imported network has none  [the run's own].")
@click.option("--data-root", help="Folder of the data set, in KITTI's layout.")
@plugin_option
@json_option
def export_command(
    network, kind, out, opset, half, int8, frames, dataset, data_root, json_file
) -> None:
    """Write a trained detector as one graph, or as a checkpoint of OpenPCDet.

    The detector is an imported one's NAME, or RECORD: the path of a run's record, or the name or
    hash of a published run. A graph is run
    beside the detector, a checkpoint is imported again; the file gets its name when both compute
    the same.
    """
    if (half or int8) and kind != "onnx":
        raise UsageError("--half and --int8 are for --format onnx alone")
    if kind == "openpcdet":
        _to_openpcdet(network, Path(out), json_file, opset or dataset or data_root)
        return
    writer, path = format_named(kind, opset), Path(out)
    named = named_network(network)
    detector = named.load()
    detector.graph()  # says what is in the way before data are looked for
    data = open_dataset(named.on(dataset), data_root)
    ids = spread(data.ids("val"), frames)
    if not ids:
        raise UsageError(f"dataset {data.name!r} has no val frames to compare on")
    with console.status("exporting"):
        smaller = [name for name, asked in (("half", half), ("int8", int8)) if asked]
        forms = export(detector, named, data, ids, path, writer, opset, smaller)
    parity = forms[0].parity
    write_json(parity.to_dict() | {"forms": [form.to_dict() for form in forms]}, json_file)
    if json_file != "-":
        _show(parity)
        if smaller:
            _show_forms(forms)
    for form in forms:
        for written in (form.path, card_path(form.path)):
            console.print(f"wrote {written}", soft_wrap=True, markup=False)


def _to_openpcdet(network: str, path: Path, json_file, others) -> None:
    """Writes checkpoint and configuration, and says how they come back."""
    if others:
        raise UsageError("--format openpcdet takes no --opset, --dataset or --data-root")
    named = named_network(network)
    trip = openpcdet.write(named.load(), named.detector, named.label, path)
    write_json(vars(trip), json_file)
    equal = trip.tensors - len([n for n in trip.others if n != "encoder.floor"])
    console.print(
        f"read again, {equal} of {trip.tensors} tensors are equal to the bit, outputs but for "
        f"{trip.difference:.1g} of their standard deviation",
        soft_wrap=True,
    )
    for written in (path, openpcdet.yaml_path(path)):
        console.print(f"wrote {written}", soft_wrap=True, markup=False)


def _show(parity: Parity) -> None:
    table = Table("", "detector", "file", "difference", title=f"On {parity.frames} val frames")
    for name, difference in parity.difference.items():
        table.add_row(
            f"output {name}, largest", f"{parity.size[name]:.4g}", "", f"{difference:.2g}"
        )
    for name in MAPS:
        ours, theirs = parity.detector[name], parity.file[name]
        label = f"{name.removesuffix('_map').upper()} mAP"
        table.add_row(label, f"{ours:.3f}", f"{theirs:.3f}", f"{theirs - ours:+.4f}")
    Console(highlight=False).print(table)


def _show_forms(forms: list[Form]) -> None:
    """What each precision costs in mAP, and what it brings."""
    columns = ("", "MB", "BEV mAP", "3D mAP", "ms", "speed-up")
    first = forms[0]
    table = Table(*columns, title=f"In onnxruntime, on {first.parity.frames} val frames")
    for form in forms:
        maps = [f"{x:.2f} ({x - first.parity.file[n]:+.2f})" for n, x in form.parity.file.items()]
        speed = (f"{form.p50:.1f}", f"{first.p50 / form.p50:.2f}")
        table.add_row(form.precision, f"{form.bytes / 1e6:.2f}", *maps, *speed)
    Console(highlight=False).print(table)
