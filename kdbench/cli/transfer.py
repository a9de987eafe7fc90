"""`kdbench transfer`: finished students on real frames."""

import json
from pathlib import Path

import click

from kdbench.cli.options import plugin_option
from kdbench.cli.output import console
from kdbench.errors import KdbenchError
from kdbench.evaluation.filled_ap import METRICS
from kdbench.measure.device import resolve_device
from kdbench.runs.records import Record, check_hash, read_record
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import load_recorded
from kdbench.storage.files import write_text
from kdbench.training.evaluate import SPLITS
from kdbench.training.progress import Reporter
from kdbench.training.transfer import real_frames, transfer, with_transfer


@click.command(name="transfer")
@click.argument("records", nargs=-1, required=True, metavar="RECORD.json...")
@click.option("--data-root", required=True, help="Folder of a KITTI tree.")
@click.option("--split", type=click.Choice(["train", "val", "all"]), default="all",
              show_default=True)  # fmt: skip
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or auto.")
@plugin_option
def transfer_command(records, data_root, split, device) -> None:
    """Score finished runs on a KITTI tree that they never learned from.

    The figures join each record, in its list `transfer`; the report shows them as a column. A
    record whose weights are lost stays as it is, and is named.
    """
    target, left = resolve_device(device), 0
    for path in map(Path, records):
        try:
            record = read_record(path)
            check_hash(record)
            spec = RunSpec.from_dict(record["spec"])
            frames = real_frames(spec, data_root)
            frames.preflight(SPLITS[split])
            found = transfer(load_recorded(record), frames, split, target, Reporter())
        except KdbenchError as error:
            console.print(f"left as it is: {error}", soft_wrap=True, markup=False)
            left += 1
            continue
        write_text(path, json.dumps(with_transfer(record, found), indent=1) + "\n")
        console.print(f"{path}: {_in_words(found)}", soft_wrap=True, markup=False)
    if left:
        raise KdbenchError(f"{left} of {len(records)} records were left as they are")


def _in_words(found: Record) -> str:
    maps = ", ".join(f"{name} mAP {found[f'{metric}_map']:.2f}" for metric, name in METRICS.items())
    return f"{maps} on {found['frames']} frames"
