"""What is SECOND's own: sizes, grids, the map of a lone point, real frames."""

from functools import partial

import pytest
import torch

from kdbench.dataset import collate
from kdbench.datasets.kitti import Kitti
from kdbench.detectors.layers.sparse_encoder import SparseEncoder
from kdbench.detectors.layers.voxel_map import LEAST_DEPTH
from kdbench.detectors.second import Second
from kdbench.errors import UsageError
from kdbench.measure.compression import parameters
from kdbench.ops.macs import MacCounter
from kdbench.training.conformance import tiny_scene
from tests.detectors.forms import CLASSES, RANGE, batch_of, build

detector = partial(build, "second")


# Size


@pytest.mark.parametrize("ratio, count", [(1, 5_325_576), (4, 1_342_824), (16, 341_448)])
def test_the_published_networks_have_their_parameters(ratio, count):
    assert parameters(detector(ratio)) == count


def test_the_published_grid_gives_the_published_map():
    network = Second(CLASSES, 100)
    assert network.encoder.shape == (41, 1600, 1408)
    assert network.head.anchors.shape == (200, 176, 6, 7)
    assert network.taps["backbone.0"].cell == pytest.approx(0.4)
    assert network.taps["backbone.1"].cell == pytest.approx(0.8)


@pytest.mark.parametrize("ratio, macs", [(1, 69.64), (4, 17.73), (16, 4.60)])
def test_the_dense_part_has_the_published_macs_on_the_published_grid(ratio, macs):
    """10 of the 80 x 70.4 m wide map's rows in place of its 200: every layer has its share."""
    strip = detector(
        ratio, point_range=(0.0, -2.0, -3.0, 70.4, 2.0, 1.0), voxel_size=(0.05, 0.05, 0.1)
    )
    inputs = strip.prepare(batch_of(torch.tensor([[0, 5.0, 0, -1, 0.5]]), 1))
    with torch.no_grad(), MacCounter() as whole:
        strip(inputs)
    with torch.no_grad(), MacCounter() as sparse:
        strip.encoder(inputs)
    assert (whole.macs - sparse.macs) * 20 / 1e9 == pytest.approx(macs, abs=0.005)


@pytest.mark.parametrize(
    "options",
    [
        {"point_range": [0, 1]},
        {"voxel_size": (0.32, 0.32)},
        {"voxel_size": (0.32, 0.32, 0.0)},
        {"voxel_size": (-0.32, 0.32, 0.1)},
        {"voxel_size": (0.32, 0.64, 0.1), "point_range": [0, 0, -3, 25.6, 5.12, 1]},
        {"voxel_size": (0.3, 0.3, 0.1)},
        {"voxel_size": (0.32, 0.32, 0.15)},
        {"voxel_size": (0.32, 0.32, 0.2)},
        {"point_range": [25.6, -10.24, -3, 0, 10.24, 1]},
    ],
)
def test_a_grid_that_cannot_be_is_refused(options):
    with pytest.raises(UsageError, match="^second: .*point_range.* voxel_size"):
        detector(**options)


def test_the_least_depth_is_the_fewest_voxels_that_leave_a_map():
    encoder = SparseEncoder(4, (1, 1, 1, 1), 1, 0.1)
    depths = [
        encoder.output_shape((voxels + 1, 16, 16))[0] for voxels in (LEAST_DEPTH - 1, LEAST_DEPTH)
    ]
    assert depths == [0, 1]
    network = detector(point_range=[0, -10.24, -3, 25.6, 10.24, -0.6])
    assert network(network.prepare(tiny_scene(RANGE)))["neck"].isfinite().all()


# Taps


@pytest.mark.parametrize("x, y", [(4.0, -5.0), (21.0, 7.0)])
def test_the_map_of_a_lone_point_is_zero_but_around_it(x, y):
    network = detector().eval()
    inputs = network.prepare(batch_of(torch.tensor([[0, x, y, -1, 0.5]]), 1))
    bev, _ = network.encoder(inputs)
    rows, columns = torch.nonzero(bev[0].sum(0), as_tuple=True)
    assert 1 <= len(rows) <= 4
    # Strided kernels overlap by one voxel: a point counts for a cell and perhaps the next one.
    assert ((columns.double() + 0.5) * 2.56 - x).abs().max() <= 1.5 * 2.56
    assert ((rows.double() + 0.5) * 2.56 - 10.24 - y).abs().max() <= 1.5 * 2.56


# Real frames


@pytest.mark.parametrize("ratio", [16, pytest.param(1, marks=pytest.mark.slow)])
def test_real_frames_on_the_full_grid(shared, ratio):
    dataset = Kitti(root=shared / "kitti")
    torch.manual_seed(0)
    network = Second(dataset.classes, ratio)
    batch = collate([dataset.frame(i) for i in dataset.ids("train")[:2]])
    inputs = network.prepare(batch)
    low, high = (torch.tensor(network.point_range[i : i + 3]) for i in (0, 3))
    inside = ((batch.points[:, 1:4] >= low) & (batch.points[:, 1:4] < high)).all(1)
    assert inputs.counts.sum() == inside.sum()
    taps = network(inputs)
    sum(network.loss(taps, batch).values()).backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in network.parameters())
    assert len(network.predict(taps)) == 2
