"""Time of the KITTI evaluator on the 3,769 validation frames, three classes.

pytest tests/benchmarks/bench_evaluator.py
"""

import sys
from subprocess import run

import numpy as np
import pytest

from kdbench.evaluation.kitti_ap import evaluate, match
from kdbench.geometry import kitti_labels


@pytest.fixture(scope="module")
def folders(shared):
    labels = shared / "kitti_labels/label_2"
    return labels, shared / "golden/evaluator/noise_3class/data"


@pytest.fixture(scope="module")
def frames(shared):
    return shared / "kitti_labels/ImageSets/val.txt"


def read(folders, frames):
    ids = frames.read_text().split()
    labels, results = folders
    truth = {i: kitti_labels.read(labels / f"{i}.txt") for i in ids}
    return truth, {i: kitti_labels.read(results / f"{i}.txt", scored=True) for i in ids}


def test_read_labels_and_results(benchmark, folders, frames):
    benchmark(read, folders, frames)


def test_evaluate(benchmark, folders, frames):
    benchmark(evaluate, *read(folders, frames))


def test_one_bootstrap_resample(benchmark, folders, frames):
    matches = match(*read(folders, frames))
    n = len(matches.frames)
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n))
    benchmark(matches.average_precision, weights)


def test_whole_command(benchmark, folders, frames):
    labels, results = folders
    options = ["--labels", labels, "--predictions", results, "--frames", frames]
    command = [sys.executable, "-c", "from kdbench.cli import main; main()", "evaluate", *options]
    benchmark.pedantic(
        run, ([str(part) for part in command],), {"check": True, "capture_output": True}, rounds=5
    )
