"""Plain and fast in turns: what is summed up; never how long it takes."""

from itertools import count

import pytest
import torch

from kdbench.dataset import Dataset
from kdbench.measure import latency
from kdbench.measure.inference import Options, fused
from kdbench.measure.inputs import generated
from kdbench.measure.latency import measure_in_turns
from kdbench.measure.speed_up import ready, speed_up
from kdbench.runs.build import build_detector
from kdbench.runs.spec import DetectorSpec

CPU = torch.device("cpu")
SMALL = {"point_range": [0.0, -10.24, -3.0, 20.48, 10.24, 1.0], "pillar_size": 0.64}


@pytest.fixture
def detector():
    torch.manual_seed(0)
    return build_detector(DetectorSpec("pointpillars", 16.0, SMALL), Dataset.classes)


@pytest.fixture
def batches():
    return generated(SMALL["point_range"], 2, points=300).batches


def test_detectors_take_turns_frame_by_frame(detector, batches):
    other = fused(detector, batches[0])
    seen = []
    for name, network in (("plain", detector), ("fast", other)):
        prepare = network.prepare

        def spy(batch, name=name, prepare=prepare):
            seen.append((name, batch.ids[0]))
            return prepare(batch)

        network.prepare = spy
    measure_in_turns([detector, other], batches, CPU, repeats=1, warmup=1)
    frames = ["generated-0", "generated-0", "generated-1"]
    assert seen == [(name, frame) for frame in frames for name in ("plain", "fast")]


def test_the_ratio_is_the_median_over_frames(detector, batches, monkeypatch):
    """A clock by which the plain detector's frames take 3 x 2 ms, the fast one's 3 x 1 ms."""
    calls, now = count(), [0.0]

    def tick(device):
        turn = next(calls) // 4 % 2
        now[0] += (0.002, 0.001)[turn]
        return now[0]

    monkeypatch.setattr(latency, "_now", tick)
    fast = fused(detector, batches[0])
    slow, quick = speed_up(detector, fast, batches, CPU, repeats=2, warmup=0)
    assert slow["samples"] == pytest.approx([6.0] * 4)
    assert quick["samples"] == pytest.approx([3.0] * 4)
    assert quick["ratio"] == pytest.approx(2.0)
    assert quick["ratio_cpu"] == pytest.approx(slow["cpu"] / quick["cpu"])


def test_the_difference_is_the_largest_of_all_frames(detector, batches):
    """The fast version is off by 1 in one class of the last frame alone."""
    fast = fused(detector, batches[0])
    dense, frames = fast.dense, count()

    def off(x):
        taps = dense(x)
        if next(frames) % 2:
            taps["head.cls"] = taps["head.cls"] + 1.0
        return taps

    fast.dense = off
    _, quick = speed_up(detector, fast, batches, CPU, repeats=1, warmup=0)
    assert quick["difference"] == pytest.approx(1.0, abs=1e-4)


def test_a_fast_version_is_made_ready(detector, batches):
    fast, seconds = ready(detector, Options(half=True), batches[0], CPU)
    assert fast.backbone.stages[0][0][0].weight.dtype == torch.bfloat16
    assert seconds > 0
