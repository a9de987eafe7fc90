"""Two gradients over the parameters that one of them reaches."""

import math

import pytest
import torch
from torch import nn

from kdbench.training.pull import pulls, together


class Two(nn.Module):
    """Two parts, of three parameters and one; the labels see both, the distillation the first."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(3, 1, bias=False)
        self.head = nn.Linear(1, 1, bias=False)


@pytest.fixture
def two():
    network = Two()
    with torch.no_grad():
        network.encoder.weight.copy_(torch.tensor([[1.0, 2.0, 3.0]]))
        network.head.weight.fill_(5.0)
    return network


def losses(network, distillation):
    detection = (network.encoder.weight * torch.tensor([3.0, 4.0, 0.0])).sum()
    return {"cls": detection + 100 * network.head.weight.sum()}, {"kd": distillation}


def test_only_where_distillation_acts_counts(two):
    distillation = (two.encoder.weight * torch.tensor([0.0, 2.0, 0.0])).sum()
    found = pulls(*losses(two, distillation), two)
    assert list(found) == ["encoder"] and together(found) == found["encoder"]
    pull = found["encoder"]
    assert pull.reached == 3
    assert pull.share == pytest.approx(2 / (2 + 5))  # not 2 / (2 + |(5, 100)|)
    assert pull.cosine == pytest.approx(8 / (2 * 5))


def test_parts_add_up(two):
    distillation = two.encoder.weight[0, 0] + 2 * two.head.weight.sum()
    found = pulls(*losses(two, distillation), two)
    whole = together(found)
    assert whole.reached == 4
    own, other = math.sqrt(1 + 4), math.sqrt(25 + 100**2)
    assert whole.share == pytest.approx(own / (own + other))
    assert whole.cosine == pytest.approx((3 + 200) / (own * other))


def test_a_loss_that_reaches_nothing_has_no_pull(two):
    assert pulls(*losses(two, torch.tensor(1.0)), two) == {}
    assert together({}) is None
    assert pulls(*losses(two, two.head.weight.sum() * 0.0), two) == {}


def test_where_the_labels_say_nothing_there_is_no_angle(two):
    found = pulls({"cls": torch.tensor(0.0)}, {"kd": two.head.weight.sum()}, two)
    assert found["head"].share == 1 and found["head"].cosine is None
