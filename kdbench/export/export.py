"""From a record to a checked file and its card."""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import torch

from kdbench import __version__
from kdbench.dataset import Dataset, collate
from kdbench.detector import Detector, Graph
from kdbench.errors import UsageError
from kdbench.export import onnx_file, pt2_file
from kdbench.export.parity import check, compare
from kdbench.export.smaller import CALIBRATION, TIMED, Form, Inputs, form_path, in_turns, make
from kdbench.measure.inference import fused
from kdbench.measure.inputs import spread
from kdbench.registry.suggest import unknown
from kdbench.runs.network import Network
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
    smaller: Sequence[str] = (),
) -> list[Form]:
    """Writes the trained detector of a network to `path`, batch norms folded, and a card beside it.

    Before the file gets its name it is run on the frames `ids` of `dataset` beside the detector;
    KdbenchError when they differ, and when `path` cannot be written: then there is no file. Each
    of `smaller`, forms of an ONNX file (`smaller.py`), is written beside it with a card.
    """
    paths = [path, *(form_path(path, name) for name in smaller)]
    _check(paths, smaller, dataset)
    detector = detector.cpu().eval().requires_grad_(False)
    detector.graph()  # says what is in the way, if anything is
    with ExitStack() as stack:
        files = [stack.enter_context(replacing(each)) for each in paths]
        example = collate([dataset.frame(ids[0])])
        folded = fused(detector, example)
        graph = folded.graph().eval().to(memory_format=torch.contiguous_format)
        kind.write(graph, graph.inputs(folded.prepare(example)), files[0], opset)
        parities = [compare(detector, graph, kind.Program(files[0]), dataset, ids)]
        check(parities[0])
        learned_from = spread(dataset.ids("train"), CALIBRATION) if "int8" in smaller else []
        training = _inputs(detector, graph, dataset, learned_from)
        for name, file in zip(smaller, files[1:], strict=True):
            make(name, files[0], file, training)
            parities.append(compare(detector, graph, kind.Program(file), dataset, ids))
        programs = [kind.Program(file) for file in files] if smaller else []
        times = _times(programs, _inputs(detector, graph, dataset, ids[:TIMED]))
        rows = zip(("float32", *smaller), paths, parities, times, files, strict=True)
        forms = [Form(*row, file.stat().st_size) for *row, file in rows]
        for form in forms:
            text = json.dumps(_card(network, graph.card, form), indent=1)
            write_text(card_path(form.path), text + "\n")
    return forms


def _check(paths: list[Path], smaller: Sequence[str], dataset: Dataset) -> None:
    for path in paths:
        if path.is_dir():
            raise UsageError(f"{path}: a folder; give the file to write")
    if "int8" in smaller and not dataset.ids("train"):
        raise UsageError(f"--int8: dataset {dataset.name!r} has no training frames to calibrate on")


@torch.no_grad()
def _inputs(detector: Detector, graph: Graph, dataset: Dataset, ids: list[str]) -> list[Inputs]:
    """What enters the graph for some frames."""
    return [graph.inputs(detector.prepare(collate([dataset.frame(i)]))) for i in ids]


def _times(programs: list, frames: list[Inputs]) -> list[float | None]:
    """Medians of programs in turns; nothing is timed where there is nothing beside it."""
    return in_turns(programs, frames) if programs else [None]


def _card(network: Network, graph: dict, form: Form) -> dict:
    """What a program must know to use the file, and a person to trust it."""
    return {
        "kdbench": __version__,
        **_origin(network),
        "weights_sha256": network.weights,
        "detector": network.detector.name,
        **graph,
        "precision": form.precision,
        "onnxruntime_ms": form.p50,
        "parity": form.parity.to_dict(),
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
