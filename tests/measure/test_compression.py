"""MACs, parameters and activations against figures counted by hand and published ones."""

import copy

import pytest
import safetensors.torch
import torch
from torch import nn

from kdbench.dataset import Dataset
from kdbench.detector import Detector
from kdbench.errors import UsageError
from kdbench.measure.compression import compression, file_bytes, network_size, parameters
from kdbench.measure.inputs import generated
from kdbench.ops.macs import MacCounter, declared_macs
from kdbench.runs.build import build_detector
from kdbench.runs.spec import DetectorSpec

SMALL = {"point_range": [0.0, -10.24, -3.0, 20.48, 10.24, 1.0], "pillar_size": 0.64}


class Toy(Detector):
    """One layer of each kind; `shared` runs outside of the top-level modules."""

    name = "toy"

    def __init__(self, classes=("Car",), ratio=1.0):
        super().__init__(classes, ratio)
        self.encoder = nn.Linear(4, self.width(8), bias=False)
        self.backbone = nn.Conv2d(self.width(8), 6, 3, padding=1, bias=False)
        self.shared = nn.ParameterList([torch.ones(5, 7)])
        self.seen = []

    def prepare(self, batch):
        return batch.points[:, 1:]

    def forward(self, inputs):
        self.seen.append((self.training, torch.is_grad_enabled()))
        rows = self.encoder(inputs)
        grid = self.backbone(rows[:16].T.reshape(1, -1, 4, 4))
        return {"neck": grid, "other": torch.ones(3, 5) @ self.shared[0]}

    loss = predict = None


def toy_batches(*counts):
    return [generated((0, 0, 0, 1, 1, 1), 1, points=n).batches[0] for n in counts]


def macs_of(module, *shape):
    with torch.no_grad(), MacCounter() as counter:
        module(torch.zeros(*shape))
    return counter.macs


def pointpillars(ratio, options=None):
    return build_detector(DetectorSpec("pointpillars", ratio, options or {}), Dataset.classes)


@pytest.mark.parametrize("bias", [False, True])
def test_layers_counted_by_hand(bias):
    assert macs_of(nn.Linear(9, 64, bias=bias), 100, 9) == 100 * 9 * 64
    # Each of 10 x 12 / 4 output cells takes 3 x 3 x 8 inputs to 16 outputs.
    conv = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=bias)
    assert macs_of(conv, 1, 8, 10, 12) == 5 * 6 * 3 * 3 * 8 * 16
    grouped = nn.Conv2d(8, 16, 3, padding=1, groups=4, bias=bias)
    assert macs_of(grouped, 2, 8, 10, 12) == 2 * 10 * 12 * 3 * 3 * 2 * 16
    # A transposed one: each *input* cell goes to 4 x 4 places.
    up = nn.ConvTranspose2d(8, 16, 4, stride=4, bias=bias)
    assert macs_of(up, 1, 8, 5, 6) == 5 * 6 * 4 * 4 * 8 * 16


def test_norm_and_activation_cost_no_macs():
    assert macs_of(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()).eval(), 1, 3, 5, 5) == 0


def add(macs):
    """Work that PyTorch does not see."""
    with declared_macs(macs):
        pass


def test_an_operator_can_add_macs():
    add(5)  # while no one counts: nothing
    with MacCounter() as outer:
        add(100)
        with MacCounter() as inner:
            add(20)
        add(3)
    assert (outer.macs, inner.macs) == (123, 20)
    add(7)
    assert outer.macs == 123


def test_declared_macs_stand_in_place_of_seen_ones():
    with MacCounter() as counter:
        torch.ones(2, 3) @ torch.ones(3, 4)
        with declared_macs(10):
            torch.ones(64, 64) @ torch.ones(64, 64)  # mostly padding, say
        torch.ones(2, 3) @ torch.ones(3, 4)
    assert counter.macs == 24 + 10 + 24
    assert counter.declared == 10


def test_a_counter_that_failed_counts_no_more():
    with pytest.raises(ValueError), MacCounter() as counter:
        raise ValueError
    add(5)
    assert counter.macs == 0


def test_split_by_stage_and_average_over_frames():
    size = network_size(Toy(), toy_batches(20, 40))
    assert size["macs_by_stage"] == {
        "encoder": 30 * 4 * 8,
        "backbone": 16 * 3 * 3 * 8 * 6,
        "other": 3 * 5 * 7,
    }
    assert size["macs"] == sum(size["macs_by_stage"].values())
    assert size["activations"] == 30 * 8 + 16 * 6
    assert size["parameters"] == 4 * 8 + 3 * 3 * 8 * 6 + 5 * 7
    assert size["frames"] == 2


def test_measuring_leaves_the_detector_as_it_was():
    toy = Toy().train()
    toy.encoder.eval()
    before = copy.deepcopy(toy.state_dict())
    network_size(toy, toy_batches(20))
    assert toy.seen == [(False, False)]
    assert toy.training and toy.backbone.training and not toy.encoder.training
    assert not toy.encoder._forward_hooks and not toy.encoder._forward_pre_hooks
    assert all(torch.equal(before[name], x) for name, x in toy.state_dict().items())


def test_no_frames_is_an_error():
    with pytest.raises(UsageError, match="no frames"):
        network_size(Toy(), [])


def test_layers_of_other_kinds_can_count_their_activations():
    class Sparse(nn.Module):
        counts_activations = True

        def forward(self, x):
            return x[:5]

    toy = Toy()
    toy.encoder = nn.Sequential(nn.Linear(4, 8), Sparse(), nn.ZeroPad2d((0, 0, 0, 11)))
    assert network_size(toy, toy_batches(20))["activations"] == 20 * 8 + 5 * 8 + 16 * 6


def test_parameters_are_the_trainable_ones():
    layer = nn.Linear(3, 4)
    assert parameters(layer) == 16
    layer.bias.requires_grad_(False)
    assert parameters(layer) == 12
    assert parameters(nn.BatchNorm1d(4)) == 8


def test_file_size_is_that_of_the_written_file(tmp_path):
    module = pointpillars(16, SMALL)
    state = {name: x.contiguous() for name, x in module.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    assert file_bytes(module) == (tmp_path / "model.safetensors").stat().st_size


def test_ratios_are_to_the_full_network():
    student, full, batches = Toy(ratio=4.0), Toy(), toy_batches(20, 40)
    small, whole = network_size(student, batches), network_size(full, batches)
    found = compression(student, full, iter(batches))
    ratio = found.pop("ratio")
    assert found == small
    assert ratio.pop("declared") == 4.0
    assert set(ratio) == {"parameters", "macs", "activations"}
    for name, value in ratio.items():
        assert value == pytest.approx(whole[name] / small[name], abs=1e-3)


def test_the_full_network_has_ratio_one():
    full = Toy()
    ratio = compression(full, full, toy_batches(20))["ratio"]
    assert set(ratio.values()) == {1.0}


@pytest.mark.parametrize(
    ("ratio", "millions", "dense"),
    [(1, "4.835", "34.17"), (4, "1.217", "8.91"), (16, "0.309", "2.41")],
)
def test_pointpillars_on_the_published_grid(ratio, millions, dense):
    """Dense MACs follow from the widths alone; PointDistiller prints 34.3, 9.0 and 2.5."""
    network = pointpillars(ratio)
    size = network_size(network, generated(network.point_range, 1).batches)
    stages = size["macs_by_stage"]
    assert f"{size['parameters'] / 1e6:.3f}" == millions
    assert f"{(size['macs'] - stages['encoder']) / 1e9:.2f}" == dense
    assert stages["encoder"] == 18_000 * 9 * network.width(64)
    assert list(stages) == ["encoder", "backbone", "neck", "head"]
    assert sum(stages.values()) == size["macs"]
