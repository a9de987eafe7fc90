"""Fast versions of detectors against the plain ones, with random running statistics."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdbench.dataset import Batch, Dataset
from kdbench.detectors.pointpillars import PointPillars
from kdbench.errors import UsageError
from kdbench.measure.inference import Options, Replayed, fused, largest_difference
from kdbench.measure.inputs import generated
from kdbench.ops.sparse import SparseConv3d, SubMConv3d
from kdbench.runs.build import build_detector
from kdbench.runs.profiles import PROFILES
from kdbench.runs.spec import DetectorSpec

FORMS = [
    ("pointpillars", {}),
    ("centerpoint", {}),
    ("centerpoint", {"form": "voxel"}),
    ("second", {}),
    ("pointrcnn", {}),
]


def detector(name="pointpillars", options=None):
    """A tiny detector whose norms do something, in evaluation mode."""
    torch.manual_seed(0)
    options = PROFILES["tiny"]["detectors"][name] | (options or {})
    network = build_detector(DetectorSpec(name, 16.0, options), Dataset.classes)
    for part in network.modules():
        if isinstance(part, _BatchNorm):
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.3, 3)
            nn.init.uniform_(part.weight, 0.5, 2)
            nn.init.normal_(part.bias, std=0.3)
    return network.eval()


def clouds(network, count=2) -> list[Batch]:
    return generated(network.point_range, count, points=1500).batches


@torch.no_grad()
def taps_of(network, batch):
    """The values of all taps."""
    taps = network(network.prepare(batch))
    return {k: getattr(x, "features", x) for k, x in taps.items() if not k.startswith("_")}


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_folding_moves_outputs_by_rounding(name, options):
    plain = detector(name, options)
    example, other = clouds(plain)
    fast = fused(plain, example)
    expected, found = taps_of(plain, other), taps_of(fast, other)
    assert list(found) == list(expected)
    for tap, value in expected.items():
        size = float(value.abs().max())
        torch.testing.assert_close(found[tap], value, rtol=1e-4, atol=1e-4 * size, msg=tap)
    assert largest_difference(expected, expected) == 0


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_norms_after_linear_layers_are_gone_and_others_stay(name, options):
    plain = detector(name, options)
    fast = fused(plain, clouds(plain)[0])
    sparse = sum(isinstance(m, (SparseConv3d, SubMConv3d)) for m in plain.modules())
    assert sum(isinstance(m, _BatchNorm) for m in fast.modules()) == sparse


def test_the_detector_itself_stays_as_it_is():
    plain = detector()
    before = {name: x.clone() for name, x in plain.state_dict().items()}
    fast = fused(plain.train(), clouds(plain)[0], Options(half=True))
    assert plain.training and not fast.training
    assert all(torch.equal(x, before[name]) for name, x in plain.state_dict().items())
    assert all(p.requires_grad for p in plain.parameters())


def test_half_precision_is_for_convolutions_alone():
    plain = detector()
    example, other = clouds(plain)
    fast = fused(plain, example, Options(half=True))
    types = {m.weight.dtype for m in fast.modules() if isinstance(m, nn.Conv2d)}
    assert types == {torch.bfloat16}
    assert fast.encoder.linear.weight.dtype == fast.head.anchors.dtype == torch.float32
    expected, found = taps_of(plain, other), taps_of(fast, other)
    for tap in ("neck", "head.cls", "head.box"):
        error = (found[tap].float() - expected[tap]).abs().mean() / expected[tap].abs().mean()
        assert 0 < error < 0.02
    (detections,) = fast.predict(found)
    assert detections.boxes.dtype == detections.scores.dtype == torch.float32


class Peeking(PointPillars):
    """A detector that shows a layer's output before its norm."""

    def dense(self, x):
        layer, seen = self.backbone.stages[0][0][0], []
        handle = layer.register_forward_hook(lambda *values: seen.append(values[-1]))
        taps = super().dense(x)
        handle.remove()
        return taps | {"first": seen[0]}


def test_a_detector_that_folding_would_change_is_refused():
    network = Peeking(Dataset.classes, 16.0, **PROFILES["tiny"]["detectors"]["pointpillars"])
    nn.init.constant_(network.backbone.stages[0][0][1].running_var, 4.0)
    with pytest.raises(RuntimeError, match="folding batch norms moved tap 'first'"):
        fused(network, clouds(network)[0])


def test_options_that_cannot_be_are_one_line():
    plain, points = detector(), detector("pointrcnn")
    with pytest.raises(UsageError, match="CUDA graph needs a CUDA device"):
        fused(plain, clouds(plain)[0], Options(graph=True))
    with pytest.raises(UsageError, match="no 2D convolutions"):
        fused(points, clouds(points)[0], Options(half=True))
    assert str(Options(half=True, graph=True)) == "fused+half+graph"


@pytest.mark.cuda
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("name", "options"), FORMS[:4])
def test_a_graph_gives_what_it_records(name, options, half):
    plain = detector(name, options).cuda()
    example, other = (batch.to("cuda") for batch in clouds(plain))
    direct = fused(plain, example, Options(half=half))
    replayed = fused(plain, example, Options(half=half, graph=True))
    for batch in (example, other, example):
        expected, found = taps_of(direct, batch), taps_of(replayed, batch)
        assert largest_difference(expected, found) < 1e-3


@pytest.mark.cuda
@pytest.mark.parametrize(("name", "options"), FORMS[:4])
def test_the_dense_part_does_not_wait_for_the_device(name, options):
    plain = detector(name, options).cuda()
    maps, dense = [], plain.dense
    plain.dense = lambda x: maps.append(x) or dense(x)
    expected = taps_of(plain, clouds(plain)[0].to("cuda"))
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.inference_mode():
            found = dense(maps[0])  # an error where it waits
        with pytest.raises(RuntimeError, match="synchroniz"):
            maps[0].sum().item()  # this does
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert largest_difference(expected, found) < 1e-3


@pytest.mark.cuda
def test_a_graph_is_recorded_anew_for_another_shape():
    double = Replayed(lambda x: {"double": 2 * x})
    for shape in ((2, 3), (4,), (2, 3)):
        x = torch.randn(shape, device="cuda")
        assert torch.equal(double(x)["double"], 2 * x)
