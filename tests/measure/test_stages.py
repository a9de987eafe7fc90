"""Where the time goes and how near the peak it is: names and sums, with a clock of their own."""

from itertools import count

import pytest
import torch

from kdbench.dataset import Dataset
from kdbench.measure import stages
from kdbench.measure.inputs import generated
from kdbench.measure.roofline import Peak, attained
from kdbench.runs.build import build_detector
from kdbench.runs.spec import DetectorSpec

CPU = torch.device("cpu")
SMALL = {"point_range": [0.0, -10.24, -3.0, 20.48, 10.24, 1.0], "pillar_size": 0.64}


def test_stages_in_their_order_and_the_rest(monkeypatch):
    """A clock that ticks a second a look: a part takes one, the network 9 with 4 parts inside."""
    ticks = count()
    monkeypatch.setattr(stages, "_now", lambda device: float(next(ticks)))
    detector = build_detector(DetectorSpec("pointpillars", 16.0, SMALL), Dataset.classes)
    batches = generated(SMALL["point_range"], 2, points=300).batches
    found = stages.stage_times(detector, batches, CPU, warmup=1)
    parts = ["encoder", "backbone", "neck", "head"]
    assert list(found) == ["prepare", *parts, "other", "predict"]
    assert found == {name: 1e3 for name in found} | {"other": 5e3}
    assert not any(m._forward_hooks for m in detector.children())


@pytest.mark.parametrize(
    ("macs", "activations", "by", "bound"), [(800, 10, "compute", 0.5), (80, 90, "memory", 0.8)]
)
def test_the_nearer_roof_bounds(macs, activations, by, bound):
    """With 800 MAC/s and 500 bytes/s at best, in 2 seconds."""
    size = {"parameters": 20, "macs": macs, "activations": activations}
    found = attained(size, 2.0, Peak(800.0, 500.0))
    assert (found["by"], found["bound"]) == (by, pytest.approx(bound))
    assert found["macs_per_second"] == macs / 2
    assert found["bytes_per_second"] == 2 * (20 + 2 * activations)
