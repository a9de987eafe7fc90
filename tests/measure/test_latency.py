"""What is measured and how it is summed up; never how long it takes."""

import json

import numpy as np
import pytest
import torch

from kdbench.dataset import Batch, Dataset
from kdbench.errors import UsageError
from kdbench.measure import latency
from kdbench.measure.device import resolve_device
from kdbench.measure.inputs import from_dataset, generated
from kdbench.measure.latency import measure_latency, summary
from kdbench.runs.build import build_detector
from kdbench.runs.spec import DetectorSpec

CPU = torch.device("cpu")
SMALL = {"point_range": [0.0, -10.24, -3.0, 20.48, 10.24, 1.0], "pillar_size": 0.64}


@pytest.fixture
def detector():
    return build_detector(DetectorSpec("pointpillars", 16.0, SMALL), Dataset.classes)


def batches(count):
    return generated(SMALL["point_range"], count, points=300).batches


def test_percentiles_are_those_of_numpy():
    samples = np.random.default_rng(0).gamma(2, 5, 101)
    found = summary(samples)
    assert found["mean"] == pytest.approx(samples.mean())
    for p in (50, 90, 99):
        assert found[f"p{p}"] == pytest.approx(np.percentile(samples, p))
    assert summary([1.0, 2.0, 4.0])["p50"] == 2.0


def test_result_is_plain_and_complete(detector):
    found = measure_latency(detector, batches(3), CPU, repeats=2, warmup=1)
    assert list(found) == [
        "mean", "p50", "p90", "p99", "stages", "cpu", "count", "frames", "repeats", "warmup",
        "contention", "detections", "samples",
    ]  # fmt: skip
    assert list(found["stages"]) == ["voxelise", "network", "postprocess"]
    assert json.loads(json.dumps(found)) == found
    assert (found["count"], found["frames"], len(found["samples"])) == (6, 3, 6)
    assert found["p50"] == pytest.approx(np.percentile(found["samples"], 50))
    assert all(sample > 0 for sample in found["samples"])


def test_stages_add_up_to_the_samples(detector, monkeypatch):
    """A clock that ticks 1, 2, then 4 ms: the stages of every frame."""
    ticks = iter(np.cumsum([0.0] + [0.001, 0.002, 0.004, 1.0] * 10).tolist())
    monkeypatch.setattr(latency, "_now", lambda device: next(ticks))
    found = measure_latency(detector, batches(2), CPU, repeats=2, warmup=3)
    assert found["samples"] == pytest.approx([7.0] * 4)
    assert found["stages"] == pytest.approx({"voxelise": 1.0, "network": 2.0, "postprocess": 4.0})


def test_every_frame_runs_in_evaluation_mode_after_the_warm_up(detector):
    seen = []
    prepare = detector.prepare

    def spy(batch: Batch):
        seen.append((batch.ids[0], detector.training, torch.is_inference_mode_enabled()))
        return prepare(batch)

    detector.prepare = spy
    detector.train()
    measure_latency(detector, batches(2), CPU, repeats=2, warmup=3)
    order = [0, 1, 0, 0, 1, 0, 1]  # three to warm up, then two passes
    assert seen == [(f"generated-{i}", False, True) for i in order]
    assert detector.training


def test_wrong_input_is_an_error(detector):
    one, two = batches(2)
    double = Batch(one.ids + two.ids, one.points, one.boxes + two.boxes, one.labels + two.labels)
    with pytest.raises(UsageError, match="no frames"):
        measure_latency(detector, [], CPU, 1, 0)
    with pytest.raises(UsageError, match="one frame each"):
        measure_latency(detector, [double], CPU, 1, 0)
    with pytest.raises(UsageError, match="repeats"):
        measure_latency(detector, [one], CPU, 0, 0)


def test_generated_clouds_are_the_same_every_time_and_all_in_range(detector):
    first, again = generated(detector.point_range, 2), generated(detector.point_range, 2)
    for a, b in zip(first.batches, again.batches, strict=True):
        assert torch.equal(a.points, b.points)
        assert detector.prepare(a).features.shape == (18_000, 9)
    assert not torch.equal(first.batches[0].points, first.batches[1].points)
    assert first.description == "2 generated cloud(s) of 18,000 points"
    with pytest.raises(UsageError, match="frames must be at least 1"):
        generated(detector.point_range, 0)


class Listed:
    """As much of a data set as is needed to choose frames."""

    name = "listed"

    def __init__(self, count):
        self.count = count

    def ids(self, split):
        return [f"{split}{i}" for i in range(self.count)]

    def frame(self, frame_id):
        return frame_id


def test_frames_of_a_data_set_are_spread_over_its_val_split(monkeypatch):
    monkeypatch.setattr("kdbench.measure.inputs.collate", lambda frames: frames[0])
    assert from_dataset(Listed(10), 3).batches == ["val0", "val3", "val6"]
    few = from_dataset(Listed(2), 5)
    assert few.batches == ["val0", "val1"]
    assert few.description == "2 val frame(s) of listed"
    with pytest.raises(UsageError, match="no val frames"):
        from_dataset(Listed(0), 5)


def test_device_names(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("cpu") == resolve_device("auto") == CPU
    with pytest.raises(UsageError, match="CUDA asked for but torch sees no CUDA device"):
        resolve_device("cuda")
    for name in ("tpu", "cuda:x", "cpu:0", "", "cuda:"):
        with pytest.raises(UsageError, match="unknown device"):
            resolve_device(name)


def test_device_names_with_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == resolve_device("cuda") == torch.device("cuda")
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match=r"torch sees 2 CUDA device\(s\)"):
        resolve_device("cuda:2")
