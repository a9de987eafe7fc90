"""Putting runs among the published ones, and looking whether those are whole."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.detector import Detector
from kdbench.errors import DataError, KdbenchError
from kdbench.evaluation.filled_ap import ap_of
from kdbench.runs import published, store
from kdbench.runs.build import build_detector, classes_of
from kdbench.runs.records import Record, check_hash, read_record, write_record
from kdbench.runs.spec import RunSpec
from kdbench.storage.files import replacing, write_text

MOST_BYTES, MOST_IN_ALL = 12 * 10**6, 44 * 10**6  # of weights: they travel with every clone


@dataclass(frozen=True)
class Entry:
    """A published run."""

    path: Path  # of its record
    record: Record

    @property
    def spec(self) -> RunSpec:
        """The run."""
        return RunSpec.from_dict(self.record["spec"])

    @property
    def bare(self) -> bool:
        """Whether the record alone is published: a row to be set beside others."""
        return self.record.get("bare", False)

    @property
    def weights(self) -> Path:
        """The file of its weights."""
        return self.path.with_suffix(".safetensors")

    @property
    def name(self) -> str:
        """What it is called: `pointpillars-x1/teacher`; runs that differ otherwise share it."""
        spec = self.spec
        return f"{spec.cell}/{'teacher' if spec.is_teacher else spec.method.name}"

    def row(self) -> dict[str, Any]:
        """What a list tells of it; `real` is BEV mAP on real frames, if that was scored."""
        spec, metrics = self.spec, self.record["metrics"]
        transfers = self.record.get("transfer") or []
        return {
            "name": self.name,
            "hash": self.record["hash"],
            "detector": spec.detector.name,
            "ratio": spec.detector.ratio,
            "method": "teacher" if spec.is_teacher else spec.method.name,
            "steps": spec.train.steps,
            "bev_map": metrics["bev_map"],
            "3d_map": metrics["3d_map"],
            "real": transfers[0].get("bev_map") if transfers else None,
            "bytes": self.weights.stat().st_size if self.weights.is_file() else 0,
            "record": str(self.path),
        }

    def detector(self) -> Detector:
        """The trained network. Raises DataError when its weights are not those of the record."""
        detector = build_detector(self.spec.detector, classes_of(self.spec.dataset))
        found = store.load_weights(self.weights, detector)
        if found != self.record["weights_sha256"]:
            raise DataError(f"{self.weights}: not the weights that the record is of")
        return detector

    def problem(self) -> str | None:
        """What is wrong with it: its place, its hash, or its weights."""
        try:
            check_hash(self.record)
            if not self.bare:
                self.detector()
        except KdbenchError as error:
            return str(error)
        if not self.path.match(str(self.spec.record_path)):
            return f"{self.path}: a run of this spec belongs to {self.spec.record_path}"
        return None


def entries() -> list[Entry]:
    """All published runs, in the order of their paths."""
    paths = sorted(published.FOLDER.glob("*/*/*/seed*-*.json"))
    return [Entry(path, read_record(path)) for path in paths]


def publish(record: Record, folder: Path | None = None, bare: bool = False) -> Iterator[Path]:
    """Writes a run's record, weights, detections and card to `folder`; yields their paths.

    If `bare`, the record alone. Raises KdbenchError when its weights are not in KDBENCH_HOME, or
    too large.
    """
    folder = folder or published.FOLDER
    check_hash(record)
    if bare:
        yield write_record(folder, record | {"bare": True})
        return
    spec = RunSpec.from_dict(record["spec"])
    source = store.weights_path(spec)
    if store.stated_checksum(source) != record["weights_sha256"]:
        raise DataError(f"{source}: not the weights of this record; they must be in KDBENCH_HOME")
    place = (folder / spec.record_path).with_suffix(".safetensors")
    _check_size(source, folder, place)
    yield _copied(source, place)
    detections = store.run_folder(spec) / "detections.npz"
    if detections.is_file():
        yield _copied(detections, place.with_suffix(".npz"))
    card = place.with_suffix(".md")
    write_text(card, _card(record, spec))
    yield card
    yield write_record(folder, record)  # last: what has a record is whole


def _check_size(source: Path, folder: Path, place: Path) -> None:
    size = source.stat().st_size
    others = sum(p.stat().st_size for p in folder.glob("*/*/*/*.safetensors") if p != place)
    if size > MOST_BYTES or size + others > MOST_IN_ALL:
        raise KdbenchError(
            f"{source}: {size / 1e6:.1f} MB beside {others / 1e6:.1f} MB that are published; at "
            f"most {MOST_BYTES / 1e6:.0f} MB a file and {MOST_IN_ALL / 1e6:.0f} MB together"
        )


def _copied(source: Path, place: Path) -> Path:
    with replacing(place) as temporary:
        shutil.copyfile(source, temporary)
    return place


def _figures(metrics: dict) -> list[tuple[str, str, str]]:
    """Class, BEV and 3D AP, as they stand in a card."""
    ap = ap_of(metrics)
    text = lambda value: "-" if value is None else f"{value:.1f}"  # noqa: E731
    return [(name, text(ap["bev"][name]), text(ap["3d"][name])) for name in ap["bev"]]


def _card(record: Record, spec: RunSpec) -> str:
    """What a person should know of a published run, in Markdown."""
    metrics, where = record["metrics"], record["environment"]
    ap = [f"| {name} | {bev} | {space} |" for name, bev, space in _figures(metrics)]
    real = [
        f"- {t.get('split', 'all')}, {t['frames']} frames {t['fingerprint']}: "
        + ", ".join(f"{name} {bev} / {space}" for name, bev, space in _figures(t))
        for t in record.get("transfer") or []
    ]
    lines = [
        f"# {spec.label}", "",
        f"Hash {spec.hash}; weights {record['weights_sha256'][:16]}, matrices in float16.", "",
        "## Data", "",
        f"{spec.dataset.name} {spec.dataset.fingerprint}, options "
        f"`{json.dumps(spec.dataset.options)}`. No frame of another data set was seen.", "",
        "## Training", "",
        f"`{json.dumps(vars(spec.train))}` of `{json.dumps(vars(spec.detector))}`, seed "
        f"{spec.seed}, profile {spec.profile}; {record['training']['seconds'] / 60:.0f} minutes on "
        f"{where.get('cpu')}, {where.get('threads')} threads, torch {where.get('torch')}.", "",
        "## Figures", "",
        f"AP at 40 recall positions, moderate, on {metrics['frames']} frames; mean "
        f"{metrics['bev_map']:.1f} BEV, {metrics['3d_map']:.1f} 3D.", "",
        "| class | BEV | 3D |", "|---|---|---|", *ap, "",
        "On real frames that it has never learned from, BEV / 3D AP:" if real
        else "It has not been scored on real frames.", "", *real,
        "", "## Licence", "", "MIT, as kdbench's; the frames are made by kdbench.", "",
    ]  # fmt: skip
    return "\n".join(lines)
