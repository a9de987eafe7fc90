"""The sparse encoder against the same network over dense volumes."""

import math

import pytest
import torch
from torch.nn import functional as F

from kdbench.detectors.layers.row_norm import RowNorm
from kdbench.detectors.layers.sparse_encoder import STRIDE, SparseEncoder
from kdbench.ops.sparse import SparseTensor

SHAPE, FRAMES = (41, 16, 24), 2
WIDTHS, OUT = (2, 3, 4, 5), 6


def encoder(momentum=0.1, seed=0):
    torch.manual_seed(seed)
    return SparseEncoder(4, WIDTHS, OUT, momentum)


def voxels(count=300, dtype=torch.float32, frames=FRAMES):
    """Random rows at random cells, most of them in a few columns, as on objects."""
    generator = torch.Generator().manual_seed(0)
    size = torch.tensor([frames, *SHAPE])
    cells = (torch.rand(count, 4, generator=generator) * size).long()
    cells[::2, 1:] = cells[::2, 1:] // 4 + 5
    cells = cells.unique(dim=0)
    features = torch.randn(len(cells), 4, generator=generator).to(dtype)
    return SparseTensor(features, cells, SHAPE, frames)


def settled(network):
    """The same in evaluation, with statistics that are not those of a new network."""
    for module in network.modules():
        if isinstance(module, RowNorm):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.1, 0.5)
            torch.nn.init.uniform_(module.bias, -0.2, 0.2)
    return network.eval()


def dense_block(block, volume, active):
    """A block over a volume whose active cells are given, and the active cells of the result."""
    sizes = getattr(block.conv, "sizes", None)
    stride, padding = sizes[1:] if sizes else (1, 1)
    weight = block.conv.weight.permute(0, 4, 1, 2, 3)
    volume = F.conv3d(volume, weight, stride=stride, padding=padding)
    if sizes:
        ones = volume.new_ones(1, 1, *sizes[0])
        active = F.conv3d(active, ones, stride=stride, padding=padding).clamp(max=1)
    norm = block.norm
    statistics = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    volume = F.batch_norm(volume, *statistics, training=False, eps=1e-3)
    return torch.relu(volume) * active, active


def test_equals_the_dense_network_masked_to_active_cells():
    network, x = settled(encoder()).double(), voxels(dtype=torch.float64)
    volume = x.dense()
    active = x.with_features(torch.ones(len(x.features), 1).double()).dense()
    for block in network.blocks:
        volume, active = dense_block(block, volume, active)
    found = network(x)
    expected = torch.cat(volume.unbind(2), dim=1)  # the channels of one z after the other
    torch.testing.assert_close(found, expected)
    assert 0.05 < (found > 0).double().mean() < 0.95


def test_the_map_is_an_eighth_of_the_grid_and_two_cells_high():
    network = encoder()
    out = network(voxels())
    assert network.output_shape(SHAPE) == (2, 2, 3)
    assert network.output_shape((41, 1600, 1408)) == (2, 200, 176)
    assert out.shape == (FRAMES, 2 * OUT, SHAPE[1] // STRIDE, SHAPE[2] // STRIDE)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_the_published_widths_have_their_parameters():
    """Twelve convolutions and the scale and shift of their norms, counted by hand."""
    cubes = 4 * 16 + 16 * 16 + 16 * 32 + 2 * 32 * 32 + 32 * 64 + 2 * 64 * 64 + 3 * 64 * 64
    norms = 2 * (2 * 16 + 3 * 32 + 6 * 64 + 128)
    network = SparseEncoder(4, (16, 32, 64, 64), 128, 0.01)
    assert sum(p.numel() for p in network.parameters()) == 27 * cubes + 3 * 64 * 128 + norms


def test_every_parameter_learns():
    network = encoder()
    network(voxels()).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("count", [0, 1])
def test_few_voxels_give_finite_maps_and_leave_the_statistics(count, training):
    network, x = encoder().train(training), voxels(count)
    out = network(x)
    out.sum().backward()
    assert out.shape[:2] == (FRAMES, 2 * OUT) and out.isfinite().all()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    assert all(math.isfinite(b.double().sum()) for b in network.buffers())
    if count == 0:
        assert not out.any()


def test_a_single_row_is_normalised_by_the_running_statistics():
    norm = RowNorm(3, 0.1)
    norm.running_mean += 1
    norm.running_var *= 4
    row = torch.tensor([[1.0, 3.0, 5.0]])
    torch.testing.assert_close(norm(row), torch.tensor([[0.0, 1.0, 2.0]]), rtol=1e-3, atol=0)
    assert norm.running_mean.tolist() == [1, 1, 1]
    two = norm(torch.tensor([[0.0, 0, 0], [2, 2, 2]]))
    torch.testing.assert_close(two, torch.tensor([[-1.0] * 3, [1.0] * 3]), rtol=1e-2, atol=0)
