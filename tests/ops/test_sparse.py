"""Sparse convolutions against dense ones, values and gradients."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn import functional as F

from kdbench.errors import UsageError
from kdbench.ops import sparse_rules, sparse_spconv
from kdbench.ops.macs import MacCounter
from kdbench.ops.sparse import SparseConv3d, SparseTensor, SubMConv3d, use_backend
from kdbench.ops.sparse_rules import submanifold_rules
from kdbench.ops.sparse_torch import Convolve, known_strided_rules, known_submanifold_rules

SHAPE = (5, 6, 7)
FRAMES = 2
HALVED = ((3, 3, 3), (2, 2, 2), (1, 1, 1))
# Kernel, stride and padding of SECOND's layers.
STRIDED = [HALVED, ((3, 3, 3), (2, 2, 2), (0, 1, 1)), ((3, 1, 1), (2, 1, 1), (0, 0, 0))]

some_cells = st.sets(
    st.tuples(*(st.integers(0, n - 1) for n in (FRAMES, *SHAPE))), max_size=80
).map(sorted)


def tensor_at(cells, channels=3, dtype=torch.float64, seed=0):
    """Random rows at the cells."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(cells), channels, generator=generator, dtype=dtype)
    coordinates = torch.tensor(cells, dtype=torch.long).reshape(-1, 4)
    return SparseTensor(features, coordinates, SHAPE, FRAMES)


def some_tensor(count=60, **options):
    cells = list(product(range(FRAMES), *map(range, SHAPE)))
    chosen = torch.randperm(len(cells), generator=torch.Generator().manual_seed(1))[:count]
    return tensor_at([cells[i] for i in sorted(chosen.tolist())], **options)


def dense_convolution(x, weight, stride=1, padding=1):
    return F.conv3d(x.dense(), weight.permute(0, 4, 1, 2, 3), stride=stride, padding=padding)


def at_cells(volume, coordinates):
    """Rows of a volume (frames, C, depth, height, width)."""
    frame, z, y, x = coordinates.unbind(1)
    return volume[frame, :, z, y, x]


def gradients(output, inputs):
    """Of a fixed random projection of `output`, by each of `inputs`."""
    generator = torch.Generator().manual_seed(2)
    direction = torch.randn(output.shape, generator=generator, dtype=output.dtype)
    return torch.autograd.grad((output * direction).sum(), inputs)


def assert_equal_with_gradients(ours, dense, inputs):
    torch.testing.assert_close(ours, dense)
    for mine, theirs in zip(gradients(ours, inputs), gradients(dense, inputs), strict=True):
        torch.testing.assert_close(mine, theirs)


def leaf(x):
    return x.with_features(x.features.requires_grad_())


# Against dense convolutions


@given(some_cells)
def test_submanifold_is_the_dense_convolution_at_the_active_cells(cells):
    x, layer = leaf(tensor_at(cells)), SubMConv3d(3, 4).double()
    out = layer(x)
    assert torch.equal(out.coordinates, x.coordinates)
    assert (out.shape, out.frames) == (SHAPE, FRAMES)
    expected = at_cells(dense_convolution(x, layer.weight), x.coordinates)
    assert_equal_with_gradients(out.features, expected, (x.features, layer.weight))


@pytest.mark.parametrize("sizes", STRIDED)
@given(cells=some_cells)
def test_strided_is_the_dense_convolution_and_active_where_the_kernel_meets_a_cell(sizes, cells):
    x, layer = leaf(tensor_at(cells)), SparseConv3d(3, 4, *sizes).double()
    out = layer(x)
    expected = dense_convolution(x, layer.weight, *sizes[1:])
    assert out.shape == expected.shape[2:]
    assert_equal_with_gradients(out.dense(), expected, (x.features, layer.weight))
    occupied = x.with_features(torch.ones(len(cells), 1, dtype=torch.float64))
    met = dense_convolution(occupied, torch.ones(1, *sizes[0], 1).double(), *sizes[1:]) > 0
    assert torch.equal(out.coordinates, torch.nonzero(met[:, 0]))


@pytest.mark.parametrize("block", [7, 8192])
def test_the_size_of_a_block_does_not_matter(monkeypatch, block):
    monkeypatch.setattr(sparse_rules, "BLOCK", block)
    x, layer = leaf(some_tensor(300)), SubMConv3d(3, 4).double()
    out = layer(x).features
    expected = at_cells(dense_convolution(x, layer.weight), x.coordinates)
    assert_equal_with_gradients(out, expected, (x.features, layer.weight))


def test_gradients_equal_finite_differences():
    x = leaf(some_tensor(25, channels=2))
    weight = SubMConv3d(2, 3).double().weight
    rules = submanifold_rules(x.coordinates, SHAPE)
    assert gradcheck(lambda f, w: Convolve.apply(f, w, rules), (x.features, weight))
    strided, _ = known_strided_rules(x, *HALVED)
    assert gradcheck(lambda f, w: Convolve.apply(f, w, strided), (x.features, weight))


def test_only_the_gradients_that_are_wanted_come():
    x, layer = some_tensor(), SubMConv3d(3, 4).double()
    layer(x).features.sum().backward()
    assert x.features.grad is None and layer.weight.grad is not None
    layer.requires_grad_(False)
    layer(x := leaf(x)).features.sum().backward()
    assert x.features.grad.isfinite().all()


# Awkward inputs


@pytest.mark.parametrize("layer", [SubMConv3d(3, 4), *(SparseConv3d(3, 4, *s) for s in STRIDED)])
def test_no_cells_give_no_cells(layer):
    x = leaf(tensor_at([], dtype=torch.float32))
    out = layer(x)
    assert out.features.shape == (0, 4) and out.coordinates.shape == (0, 4)
    assert not out.dense().any()
    out.features.sum().backward()
    assert not layer.weight.grad.any()


def test_a_lone_cell_meets_the_centre_alone():
    x, layer = tensor_at([(1, 0, 5, 6)]), SubMConv3d(3, 4).double()
    expected = x.features @ layer.weight[:, 1, 1, 1].T
    torch.testing.assert_close(layer(x).features, expected)


def test_a_frame_does_not_depend_on_its_neighbours():
    cells = list(product((0, 1), (0, 4), range(6), (0, 6)))
    x, layer = tensor_at(cells), SparseConv3d(3, 4, *HALVED).double()
    second = x.coordinates[:, 0] == 1
    alone = SparseTensor(x.features[second], x.coordinates[second], SHAPE, FRAMES)
    torch.testing.assert_close(layer(x).dense()[1], layer(alone).dense()[1])


# What is shared, and what does not matter


def test_layers_over_the_same_cells_share_their_rules():
    x = some_tensor()
    rules = known_submanifold_rules(x)
    assert known_submanifold_rules(SubMConv3d(3, 4).double()(x)) is rules
    first, second = (SparseConv3d(3, c, *HALVED).double()(x) for c in (4, 2))
    assert first.known is second.known and first.known is not x.known
    assert len(known_strided_rules(x, *STRIDED[1])[1].coordinates) != len(first.coordinates)


def test_the_same_input_gives_the_same_bits():
    torch.manual_seed(0)
    layers = [SubMConv3d(3, 8), SparseConv3d(8, 4, *HALVED)]

    def run():
        x = leaf(some_tensor(250, dtype=torch.float32))
        out = layers[1](layers[0](x)).features
        return out, *gradients(out, (x.features, layers[0].weight, layers[1].weight))

    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))


def test_mixed_precision_leaves_sparse_convolutions_exact():
    x, layer = some_tensor(dtype=torch.float32), SparseConv3d(3, 4, *HALVED)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(x).features, (expected := layer(x)).features)
        half = layer(x.with_features(x.features.bfloat16())).features
    assert expected.features.dtype == half.dtype == torch.float32
    torch.testing.assert_close(half, layer(x).features, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("layer", [SubMConv3d(3, 4), SparseConv3d(3, 4, *HALVED)])
def test_macs_are_those_of_the_active_pairs(layer):
    x = some_tensor(dtype=torch.float32)
    ones = torch.ones_like(layer.weight[:1, ..., :1])
    sizes = layer.sizes[1:] if isinstance(layer, SparseConv3d) else ()
    met = dense_convolution(x.with_features(torch.ones(len(x.features), 1)), ones, *sizes)
    pairs = at_cells(met, layer(x).coordinates).sum()
    with MacCounter() as counter:
        layer(x)
    assert counter.macs == pairs * 3 * 4


def test_an_unknown_backend_is_refused():
    with pytest.raises(UsageError, match="no backend 'cudnn': torch, spconv"), use_backend("cudnn"):
        pass


@pytest.mark.cuda
@pytest.mark.parametrize("backend", ["torch", "spconv"])
def test_cuda_equals_the_cpu(backend):
    if backend == "spconv" and not sparse_spconv.available():
        pytest.skip("no spconv for CUDA")
    x = leaf(some_tensor(250, dtype=torch.float32))
    layers = torch.nn.ModuleList([SubMConv3d(3, 8), SparseConv3d(8, 4, *HALVED)])
    out = layers[1](layers[0](x))
    expected = gradients(out.features.cpu(), (x.features, *layers.parameters()))
    layers.cuda()
    y = SparseTensor(
        x.features.detach().cuda().requires_grad_(), x.coordinates.cuda(), SHAPE, FRAMES
    )
    with use_backend(backend):
        found = layers[1](layers[0](y))
    assert torch.equal(found.coordinates.cpu(), out.coordinates)
    torch.testing.assert_close(found.features.cpu(), out.features, rtol=1e-3, atol=1e-3)
    for mine, theirs in zip(
        gradients(found.features.cpu(), (y.features, *layers.parameters())), expected, strict=True
    ):
        torch.testing.assert_close(mine.cpu(), theirs, rtol=1e-3, atol=1e-3)
