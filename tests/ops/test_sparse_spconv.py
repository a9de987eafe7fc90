"""Our sparse convolutions against spconv's, forward, on the CPU. Skips without spconv."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.detectors.layers.sparse_encoder import SparseEncoder
from kdbench.ops import sparse_spconv
from kdbench.ops.macs import MacCounter
from kdbench.ops.sparse import SparseConv3d, SparseTensor, SubMConv3d, use_backend
from kdbench.ops.voxelise import Grid, voxelise
from kdbench.training.conformance import tiny_scene

pytest.importorskip("spconv", exc_type=ImportError)

SHAPE, FRAMES = (9, 8, 7), 2
STRIDED = [
    ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ((3, 3, 3), (2, 2, 2), (0, 1, 1)),
    ((3, 1, 1), (2, 1, 1), (0, 0, 0)),
]
RANGE = (0.0, -10.24, -3.0, 20.48, 10.24, 1.0)

some_cells = st.sets(
    st.tuples(*(st.integers(0, n - 1) for n in (FRAMES, *SHAPE))), min_size=1, max_size=80
).map(sorted)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Of several, spconv's threads on the CPU overwrite each other's sums now and then."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tensor_at(cells, channels=4):
    features = torch.randn(len(cells), channels, generator=torch.Generator().manual_seed(0))
    return SparseTensor(features, torch.tensor(cells), SHAPE, FRAMES)


def assert_backends_agree(layer, cells):
    # Each from cells of which nothing is known yet.
    with torch.no_grad():
        ours = layer(tensor_at(cells))
        with use_backend("spconv"):
            theirs = layer(tensor_at(cells))
    assert (ours.shape, ours.frames) == (theirs.shape, theirs.frames)
    assert torch.equal(ours.coordinates, theirs.coordinates)
    torch.testing.assert_close(ours.features, theirs.features)


@given(some_cells)
def test_submanifold(cells):
    torch.manual_seed(0)
    assert_backends_agree(SubMConv3d(4, 5), cells)


@pytest.mark.parametrize("sizes", STRIDED)
@given(cells=some_cells)
def test_strided(sizes, cells):
    torch.manual_seed(0)
    assert_backends_agree(SparseConv3d(4, 5, *sizes), cells)


@pytest.mark.parametrize("layer", [SubMConv3d(4, 5), *(SparseConv3d(4, 5, *s) for s in STRIDED)])
def test_no_cells(layer):
    x = SparseTensor(torch.zeros(0, 4), torch.zeros(0, 4, dtype=torch.long), SHAPE, FRAMES)
    with use_backend("spconv"):
        assert layer(x).features.shape == (0, 5)


def test_an_encoder_of_one_backend_runs_with_the_other():
    torch.manual_seed(0)
    grid = Grid(RANGE, (0.32, 0.32, 0.1))
    voxels = voxelise(tiny_scene(RANGE).points, grid, 2)

    def fresh():
        return SparseTensor(voxels.features, voxels.coordinates, (41, 64, 64), 2)

    trained, other = (SparseEncoder(4, (4, 8, 8, 8), 8, 0.5) for _ in range(2))
    trained(fresh()).square().sum().backward()
    torch.optim.SGD(trained.parameters(), 0.01).step()
    other.load_state_dict(trained.state_dict())
    with torch.no_grad(), MacCounter() as ours:
        expected = trained.eval()(fresh())
    with torch.no_grad(), use_backend("spconv"), MacCounter() as theirs:
        found = other.eval()(fresh())
    torch.testing.assert_close(found, expected)
    assert expected.any()
    assert ours.macs == theirs.macs > 0


def test_teacher_and_student_may_share_what_spconv_found_out():
    x = tensor_at([(0, z, y, 3) for z in range(9) for y in range(8)])
    wide, narrow = SparseConv3d(4, 8, *STRIDED[0]), SparseConv3d(4, 2, *STRIDED[0])
    with torch.no_grad(), use_backend("spconv"):
        wide(x)
        found = narrow(x).features
    with torch.no_grad():
        torch.testing.assert_close(found, narrow(x).features)


def test_a_build_without_cuda_is_not_taken_for_cuda_tensors():
    from spconv.cppconstants import CPU_ONLY_BUILD

    assert sparse_spconv.available() != CPU_ONLY_BUILD
