"""Finished students on real frames: a KITTI tree that they never learned from judges them."""

from dataclasses import replace
from pathlib import Path

import torch

from kdbench.dataset import Dataset
from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.registry import datasets
from kdbench.runs.build import same_classes
from kdbench.runs.records import Record
from kdbench.runs.spec import DatasetSpec, RunSpec
from kdbench.training.data import build_dataset
from kdbench.training.evaluate import detect, score
from kdbench.training.progress import Reporter

KEPT = ("frames", "kitti", "ap", "bev_map", "3d_map", "resamples")


def real_frames(spec: RunSpec, root: Path | str) -> Dataset:
    """The tree below `root`, cropped to what the run's detector sees.

    Raises UsageError when the run learned from it, and DataError when there is no such tree.
    """
    tree = DatasetSpec("kitti", same_classes(spec.dataset, datasets.get("kitti")))
    frames = build_dataset(replace(spec, dataset=tree), str(root))
    if frames.fingerprint() == spec.dataset.fingerprint:
        raise UsageError(f"--transfer {root}: {spec.label} learned from these frames itself")
    return frames


def transfer(
    detector: Detector, frames: Dataset, split: str, device: torch.device, reporter: Reporter
) -> dict:
    """What a record's list `transfer` holds of frames: the figures of `score`, and of which.

    `split` is train, val or all.
    """
    found = detect(detector.to(device), frames, device, reporter, split)
    metrics = score(frames, found, detector.point_range)
    which = {"fingerprint": frames.fingerprint(), "split": split}
    return which | {key: metrics[key] for key in KEPT}


def with_transfer(record: Record, found: dict) -> Record:
    """The record with these figures, in place of older ones of the same frames."""
    others = [each for each in record.get("transfer", []) if not _of_same_frames(each, found)]
    return record | {"transfer": [*others, found]}


def transferred(record: Record, frames: Dataset, split: str) -> bool:
    """Whether a record holds figures of these frames."""
    which = {"fingerprint": frames.fingerprint(), "split": split}
    return any(_of_same_frames(each, which) for each in record.get("transfer", []))


def _of_same_frames(a: dict, b: dict) -> bool:
    return all(a[key] == b[key] for key in ("fingerprint", "split"))
