"""Folded batch norms against the norms themselves, with random running statistics."""

import pytest
import torch
from torch import nn

from kdbench.ops.fold import fold_norms


def randomised(module):
    """The module with norms that do something, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None:
            part.running_mean.normal_(generator=generator)
            part.running_var.uniform_(0.2, 4, generator=generator)
            nn.init.uniform_(part.weight, 0.2, 2, generator=generator)
            nn.init.normal_(part.bias, generator=generator)
    return module.eval()


def assert_folds(module, x, folded):
    """Folds `module`, and makes sure of the number of norms and of the output."""
    with torch.no_grad():
        expected = module(x)
        assert fold_norms(module, lambda: module(x)) == folded
        torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (lambda b: nn.Linear(3, 5, bias=b), nn.BatchNorm1d, (7, 3)),
        (lambda b: nn.Conv1d(3, 5, 2, bias=b), nn.BatchNorm1d, (2, 3, 6)),
        (lambda b: nn.Conv2d(3, 5, 3, stride=2, bias=b), nn.BatchNorm2d, (2, 3, 7, 6)),
        (lambda b: nn.Conv3d(3, 5, 2, bias=b), nn.BatchNorm3d, (2, 3, 4, 3, 5)),
        (lambda b: nn.ConvTranspose2d(3, 5, 2, stride=2, bias=b), nn.BatchNorm2d, (2, 3, 4, 5)),
    ],
)
def test_a_norm_after_a_linear_layer_folds(layer, norm, shape, bias):
    module = randomised(nn.Sequential(layer(bias), norm(5, eps=1e-3), nn.ReLU()))
    assert_folds(module, torch.randn(shape), folded=1)
    assert isinstance(module[1], nn.Identity)


def test_the_layout_of_a_weight_stays():
    module = nn.Sequential(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
    module = randomised(module).to(memory_format=torch.channels_last)
    assert_folds(module, torch.randn(1, 4, 5, 5), folded=1)
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)


class Twice(nn.Module):
    """One layer before two norms."""

    def __init__(self):
        super().__init__()
        self.layer, self.norms = nn.Linear(4, 4), nn.ModuleList(nn.BatchNorm1d(4) for _ in "ab")

    def forward(self, x):
        for norm in self.norms:
            x = norm(self.layer(x))
        return x


class Changed(nn.Module):
    """A layer's output that is changed in place before its norm."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.layer(x).relu_())


@pytest.mark.parametrize(
    "module",
    [
        Twice(),
        Changed(),
        nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4)),
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)),
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False)),
    ],
)
def test_a_norm_that_cannot_be_folded_stays(module):
    for part in module.modules():
        if getattr(part, "weight", None) is not None:
            nn.init.normal_(part.weight)
    assert_folds(module.eval(), torch.randn(6, 4), folded=0)


def test_a_transposed_layer_in_groups_stays():
    layer = nn.ConvTranspose2d(4, 4, 2, groups=2)
    assert_folds(
        randomised(nn.Sequential(layer, nn.BatchNorm2d(4))), torch.randn(1, 4, 3, 3), folded=0
    )
