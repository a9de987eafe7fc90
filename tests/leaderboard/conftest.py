"""Records made up for the leaderboard's tests."""

from dataclasses import replace

import numpy as np
import pytest

from kdbench.evaluation.resample import pack
from kdbench.runs.records import SCHEMA
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import MethodSpec, RunSpec

CLASSES = ("car", "pedestrian", "cyclist")


def make_record(spec: RunSpec, bev: float, frames: bool = True, **latency) -> dict:
    """A record with the given BEV mAP; the mAP in space is half of it.

    With `frames` it holds AP over drawn frames, a run's own luck about one point wide.
    """
    kitti = {c: {m: {"R40": [bev, bev, bev]} for m in ("bev", "3d")} for c in CLASSES}
    for by_metric in kitti.values():
        by_metric["3d"] = {"R40": [bev / 2] * 3}
    metrics = {"bev_map": bev, "3d_map": bev / 2, "kitti": kitti}
    if frames and np.isfinite(bev):
        luck = np.random.default_rng(int(spec.hash, 16) % 2**32).normal(0, 1, (2, 3, 200))
        metrics["resamples"] = pack(np.maximum(bev + luck, 0), 150, CLASSES)
    width = 1 / spec.detector.ratio
    return {
        "schema": SCHEMA, "hash": spec.hash, "spec": spec.to_dict(), "metrics": metrics,
        "cost": {
            "parameters": int(4_800_000 * width), "method_parameters": 7,
            "macs": int(2e9 * width), "ratio": {"parameters": 1 / width, "macs": 1 / width},
        },
        "latency": {"p50": 10.0, "p90": 12.0, "contention": 0.0} | latency,
        "training": {"seconds_per_step": 0.1, "seconds": 9.0, "peak_memory_bytes": 10**9},
        "environment": {"torch": "2.13.0", "commit": "abc" * 9, "dirty": True, "threads": 2},
    }  # fmt: skip


@pytest.fixture
def record():
    """`make_record`."""
    return make_record


@pytest.fixture
def student():
    """Specs of students at ratio 4, by method; any name will do for one."""

    def make(method: str, ratio: float = 4.0, **named) -> RunSpec:
        spec = build_spec(method="kd", ratio=ratio, **named)
        named_so = replace(spec, method=MethodSpec(method, {}))
        return spec.baseline() if method == "none" else named_so

    return make


@pytest.fixture
def records(student):
    """One table: a teacher, `none`, and methods of which the name tells the mAP."""
    plain = student("none")
    made = [make_record(student("kd").teacher_run(), 60.0), make_record(plain, 40.0)]
    for method, bev in (("best", 50.0), ("good", 45.0), ("level", 40.2), ("bad", 30.0)):
        made.append(make_record(student(method), bev))
    return made
