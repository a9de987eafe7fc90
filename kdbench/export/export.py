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
from kdbench.imports.named import Network
from kdbench.measure.inference import fused
from kdbench.registry.suggest import unknown
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
    network: Network,
    dataset: Dataset,
    ids: list[str],
    path: Path,
    kind: ModuleType,
    opset: int | None = None,
) -> Parity:
    """Writes the trained detector of a network to `path`, batch norms folded, and a card beside it.

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
        text = json.dumps(_card(network, graph.card, parity), indent=1)
        write_text(card_path(path), text + "\n")
    return parity


def _card(network: Network, graph: dict, parity: Parity) -> dict:
    """What a program must know to use the file, and a person to trust it."""
    return {
        "kdbench": __version__,
        **_origin(network),
        "weights_sha256": network.weights,
        "detector": network.detector.name,
        **graph,
        "parity": parity.to_dict(),
    }


def _origin(network: Network) -> dict:
    """The run of a network and what it scored, or the file that it was imported from."""
    if network.kept:
        return {"imported": network.kept.name, "file": network.kept.description["file"]}
    metrics = network.record["metrics"]
    return {
        "run": network.label,
        "hash": network.record["hash"],
        "metrics": {name: metrics[name] for name in ("bev_map", "3d_map", "frames")},
    }
