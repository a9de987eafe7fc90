"""Time and memory of `kdbench evaluate` on as many frames as KITTI validates, 500 detections each.

pytest tests/benchmarks/bench_evaluate.py -s
"""

import json
import resource
import subprocess
import sys

import numpy as np
import pytest

from kdbench.geometry.kitti_labels import format_rows, from_table
from kdbench.storage.files import write_text

FRAMES, DETECTIONS, OBJECTS = 3769, 500, 12
DRAWN = 40  # frames of their own; the others repeat them
NAMES = ("Car", "Pedestrian", "Cyclist", "Van", "DontCare")
SIZES = np.array([(1.5, 1.6, 4), (1.7, 0.6, 0.8), (1.7, 0.6, 1.8), (2, 2, 5), (1, 1, 1)])
SECONDS, BYTES = 12, 1.5e9


def drawn_frame(rng):
    """Labels and detections: a part of them near objects, the others anywhere."""
    kind = rng.choice(len(NAMES), OBJECTS, p=[0.5, 0.2, 0.1, 0.1, 0.1])
    truth = drawn_table(kind, rng)
    near = rng.integers(0, OBJECTS, DETECTIONS)
    found, found_kind = truth[near].copy(), kind[near] % 3
    found[:, 3:14] += rng.normal(0, 1, (DETECTIONS, 11)) * ([2] * 4 + [0.1] * 7)
    anywhere = rng.random(DETECTIONS) < 0.8
    found[anywhere] = drawn_table(found_kind, rng)[anywhere]
    found[:, 14] = rng.random(DETECTIONS)
    return objects(kind, truth), objects(found_kind, found)


def drawn_table(kind, rng):
    n = len(kind)
    corner, size = rng.uniform((0, 100), (1100, 250), (n, 2)), rng.uniform(15, 120, (n, 2))
    return np.column_stack([
        rng.choice([0, 0, 0.2, 0.6], n), rng.integers(0, 4, n), rng.uniform(-3, 3, n),
        corner, corner + size, SIZES[kind], rng.uniform((-30, 1.5, 5), (30, 2, 60), (n, 3)),
        rng.uniform(-3, 3, n), np.ones(n),
    ])  # fmt: skip


def objects(kind, table):
    return from_table(np.array(NAMES)[kind], table)


def write_folders(root, count: int) -> None:
    """So many frames in the folders `labels` and `results` below root."""
    rng = np.random.default_rng(0)
    drawn = [drawn_frame(rng) for _ in range(min(count, DRAWN))]
    texts = [(format_rows(truth), format_rows(found, scored=True)) for truth, found in drawn]
    for i in range(count):
        for folder, text in zip(("labels", "results"), texts[i % len(texts)], strict=True):
            write_text(root / f"{folder}/{i:06d}.txt", text)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("frames")
    write_folders(root, FRAMES)
    return root


def test_evaluate_3769_frames_of_500_detections(benchmark, folders, tmp_path):
    options = ["--labels", folders / "labels", "--predictions", folders / "results"]
    command = [sys.executable, "-m", "kdbench", "evaluate", *options, "--json", tmp_path / "ap"]
    command = [str(part) for part in command]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    benchmark.pedantic(
        subprocess.run, (command,), {"check": True, "stdout": subprocess.DEVNULL}, rounds=1
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    peak = used.ru_maxrss * 1024
    benchmark.extra_info |= {"seconds": seconds, "peak_bytes": peak}
    print(f"\n{FRAMES:,} x {DETECTIONS}: {seconds:.1f} s of processor, {peak / 1e9:.2f} GB")
    assert json.loads((tmp_path / "ap").read_text())["car"]["3d"]["R40"][1] > 0
    assert seconds < SECONDS
    assert peak < BYTES
