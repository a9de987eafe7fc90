"""Time and memory of `kdbench report` on up to 10,000 records, and how they grow.

pytest tests/benchmarks/bench_report.py -s
"""

import itertools
import math
import resource
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from kdbench.evaluation.bands import BANDS
from kdbench.evaluation.calibration_error import BINS
from kdbench.evaluation.resample import DRAWS, pack
from kdbench.leaderboard.behaviour import AGREEMENT
from kdbench.registry import methods
from kdbench.runs.records import SCHEMA, write_record
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import RunSpec

CLASSES = ("car", "pedestrian", "cyclist")
METRICS = ("bbox", "aos", "bev", "3d")
METHODS = ("none", *(name for name in methods.names() if name != "none"))[:39]
DETECTORS = ("pointpillars", "second", "centerpoint", "pointrcnn")
RECORDS = (10, 1_000, 10_000)
SECONDS, BYTES = 20, 10**9


def made_record(spec: RunSpec, rng) -> dict:
    """A record as large as a real one, of random numbers."""
    ap = rng.uniform(10, 60, (3, 4, 2, 3))  # classes, metrics, R11 and R40, difficulties
    kitti = {
        name: {
            metric: dict(zip(("R11", "R40"), ap[c, m].tolist(), strict=True))
            for m, metric in enumerate(METRICS)
        }
        for c, name in enumerate(CLASSES)
    }
    moderate = ap[:, 2:, 1, 1].T  # (metrics, classes)
    drawn = moderate[..., None] + rng.normal(0, 2, (2, 3, DRAWS))
    samples = rng.uniform(10, 20, 100)
    return {
        "schema": SCHEMA, "hash": spec.hash, "spec": spec.to_dict(), "teacher": spec.hash,
        "metrics": {
            "kitti": kitti, "bev_map": moderate[0].mean(), "3d_map": moderate[1].mean(),
            "resamples": pack(np.maximum(drawn, 0), 150, CLASSES), "frames": 150,
            "breakdown": made_breakdown(rng), "calibration": made_calibration(rng),
            "agreement": dict.fromkeys(AGREEMENT, rng.uniform(0.5, 1)),
        },
        "cost": {
            "parameters": 1_217_320, "method_parameters": 6208, "macs": 515_936_573,
            "ratio": {"declared": 4.0, "parameters": 3.972, "macs": 3.817},
        },
        "latency": {"p50": samples.mean(), "p90": samples.max(), "contention": 0.0,
                    "samples": samples.tolist()},
        "training": {"seconds_per_step": rng.uniform(0.1, 1), "seconds": 390.77,
                     "peak_memory_bytes": 10**9},
        "date": "2026-01-01T00:00:00+00:00",
        "environment": {"torch": "2.13.0", "python": "3.11", "threads": 2, "commit": "0" * 40},
    }  # fmt: skip


def made_breakdown(rng) -> dict:
    names = {trait: [band.name for band in own] for trait, own in BANDS.items()}
    count = sum(map(len, names.values()))
    ap = {m: {c: rng.uniform(10, 60, count).tolist() for c in (*CLASSES, "mean")}
          for m in ("bev", "3d")}  # fmt: skip
    return {"bands": names, "objects": dict.fromkeys(CLASSES, [50] * count), **ap}


def made_calibration(rng) -> dict:
    def bins() -> dict:
        right = rng.integers(0, 50, BINS)
        count = right + rng.integers(0, 50, BINS)
        return {
            "count": count.tolist(),
            "right": right.tolist(),
            "score": rng.random(BINS).tolist(),
        }

    error = dict.fromkeys((*CLASSES, "mean"), rng.uniform(0, 0.3))
    return {m: {"error": error, "bins": {c: bins() for c in CLASSES}} for m in ("bev", "3d")}


def runs():
    """16 detectors and data sets, each at four ratios with 39 methods and four seeds."""
    worlds = itertools.product(("synthetic", "kitti"), ("quick", "standard"), DETECTORS)
    for dataset, profile, detector in worlds:
        spec = partial(build_spec, dataset=dataset, profile=profile, detector=detector)
        yield spec(method="kd").teacher_run()
        for name, ratio in itertools.product(METHODS, (2.0, 4.0, 8.0, 16.0)):
            run = spec(method=name, ratio=ratio)
            yield from (replace(run, seed=seed) for seed in range(4))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Folders of the first records, by how many."""
    folders = {count: tmp_path_factory.mktemp(f"results{count}") for count in RECORDS}
    rng = np.random.default_rng(0)
    for i, run in enumerate(runs()):
        record = made_record(run, rng)
        for folder in (folder for count, folder in folders.items() if i < count):
            write_record(folder, record)
    for count, folder in folders.items():
        assert len(list(folder.glob("*/*/*/*.json"))) == count
    return folders


def report(folder, out) -> tuple[float, int]:
    """Seconds of CPU that a report takes, and the peak of memory of all reports so far."""
    command = [sys.executable, "-m", "kdbench", "report", "--results", folder, "--out", out]
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([str(x) for x in command], check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime - before, used.ru_maxrss * 1024


def test_report_of_up_to_10_000_records(benchmark, results, tmp_path):
    used = {}

    def all_sizes():  # the largest comes last, so each peak is its own
        for count, folder in results.items():
            used[count] = report(folder, tmp_path)

    benchmark.pedantic(all_sizes, rounds=1)
    page = (tmp_path / "index.html").stat().st_size
    benchmark.extra_info |= {"used": used, "page_bytes": page}
    print()
    for count, (seconds, peak) in used.items():
        print(f"{count:>6,} records: {seconds:.1f} s of CPU, {peak / 1e9:.2f} GB")
    (before, _), (seconds, peak) = used[RECORDS[-2]], used[RECORDS[-1]]
    growth = math.log(seconds / before) / math.log(RECORDS[-1] / RECORDS[-2])
    print(f"from {RECORDS[-2]:,} on grows as their power {growth:.2f}; page {page / 1e6:.1f} MB")
    assert seconds < SECONDS
    assert peak < BYTES
    assert growth < 1.1
