"""From a record to a checked file and its card."""

import json
from pathlib import Path
from types import ModuleType

import torch

from kdbench import __version__
from kdbench.dataset import Dataset, collate
from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.export import onnx_file, pt2_file
from kdbench.export.parity import Parity, check, compare
from kdbench.measure.inference import fused
from kdbench.registry.suggest import unknown
from kdbench.runs.records import Record
from kdbench.runs.spec import RunSpec
from kdbench.storage.files import replacing, write_text

FORMATS: dict[str, ModuleType] = {"onnx": onnx_file, "pt2": pt2_file}


def format_named(name: str, opset: int | None) -> ModuleType:
    """The module that writes and runs a format. Raises KdbenchError when it cannot, here."""
    if name not in FORMATS:
        raise UsageError(unknown("format", name, FORMATS))
    FORMATS[name].check(opset)
    return FORMATS[name]


def card_path(path: Path) -> Path:
    """Where the card of an exported file stands."""
    return path.with_name(path.name + ".json")


def export(
    detector: Detector,
    record: Record,
    dataset: Dataset,
    ids: list[str],
    path: Path,
    kind: ModuleType,
    opset: int | None = None,
) -> Parity:
    """Writes a record's trained detector to `path`, batch norms folded, and a card beside it.

    Before the file gets its name it is run on the frames `ids` of `dataset` beside the detector;
    KdbenchError when they differ, and when `path` cannot be written: then there is no file.
    """
    if path.is_dir():
        raise UsageError(f"{path}: a folder; give the file to write")
    detector = detector.cpu().eval().requires_grad_(False)
    detector.graph()  # says what is in the way, if anything is
    with replacing(path) as temporary:
        example = collate([dataset.frame(ids[0])])
        folded = fused(detector, example)
        graph = folded.graph().eval().to(memory_format=torch.contiguous_format)
        kind.write(graph, graph.inputs(folded.prepare(example)), temporary, opset)
        parity = compare(detector, graph, kind.Program(temporary), dataset, ids)
        check(parity)
        text = json.dumps(_card(record, graph.card, parity), indent=1)
        write_text(card_path(path), text + "\n")
    return parity


def _card(record: Record, graph: dict, parity: Parity) -> dict:
    """What a program must know to use the file, and a person to trust it."""
    spec, metrics = RunSpec.from_dict(record["spec"]), record["metrics"]
    return {
        "kdbench": __version__,
        "run": spec.label,
        "hash": record["hash"],
        "weights_sha256": record.get("weights_sha256"),
        "detector": spec.detector.name,
        **graph,
        "metrics": {name: metrics[name] for name in ("bev_map", "3d_map", "frames")},
        "parity": parity.to_dict(),
    }
