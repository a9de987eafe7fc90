"""Latency at batch 1 of each detector and its fast versions, on the device that is there.

Plain and fast take turns frame by frame. One line each: detector, ratio, options, percentiles in
milliseconds, how many times as fast as the plain one, the same by processor time, and how far the
head's outputs move. Networks have random weights, so post-processing does less than it would in a
trained one; `kdbench latency --run RECORD.json --fused` measures that.

KDBENCH_BENCH_FRAMES sets the number of frames (20).
"""

import os

import pytest
import torch

from kdbench.measure.device import resolve_device
from kdbench.measure.inference import Options
from kdbench.measure.inputs import generated
from kdbench.measure.speed_up import ready, speed_up
from kdbench.runs.build import build_detector
from kdbench.runs.profiles import PROFILES
from kdbench.runs.spec import DetectorSpec
from kdbench.training.conformance import CLASSES

FRAMES = int(os.environ.get("KDBENCH_BENCH_FRAMES", 20))
DEVICE = resolve_device("auto")
OPTIONS = [Options(), Options(half=True)]
if DEVICE.type == "cuda":
    OPTIONS += [Options(graph=True), Options(half=True, graph=True)]
CASES = [
    ("pointpillars", "quick", 4.0),
    ("pointpillars", "standard", 4.0),
    ("pointpillars", "quick", 1.0),
    ("centerpoint", "quick", 4.0),
    ("second", "quick", 4.0),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("name", "profile", "ratio"), CASES)
def test_a_fast_version(benchmark, name, profile, ratio, options):
    torch.manual_seed(0)
    given = PROFILES[profile]["detectors"].get(name, {})
    plain = build_detector(DetectorSpec(name, ratio, given), CLASSES).eval()
    batches = generated(plain.point_range, FRAMES).batches
    fast, seconds = ready(plain, options, batches[0], DEVICE)
    slow, quick = benchmark.pedantic(speed_up, args=(plain, fast, batches, DEVICE, 1, 3), rounds=1)
    benchmark.extra_info |= {key: quick[key] for key in ("p50", "ratio", "ratio_cpu")}
    p50, p90, p99 = (f"{slow[p]:.2f} -> {quick[p]:.2f}" for p in ("p50", "p90", "p99"))
    print(
        f"\n{name} x{ratio:g} {profile}, {options}: p50 {p50}, p90 {p90}, p99 {p99} ms; "
        f"{quick['ratio']:.2f} x ({quick['ratio_cpu']:.2f} x by processor time), "
        f"outputs within {quick['difference']:.1e}, ready after {seconds:.1f} s"
    )
