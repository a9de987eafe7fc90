"""Ten values a point, filled-up pillars, another order of classes: the same functions."""

import pytest
import torch

from kdbench.detectors.layers.pillar_encoder import PillarEncoder, decorate
from kdbench.errors import UsageError
from kdbench.imports.bev_layers import NAMES, file_anchors, fill_pillars
from kdbench.imports.checkpoint import Checkpoint
from kdbench.imports.settings import Settings
from kdbench.imports.transfer import Transfer
from kdbench.ops.voxelise import Grid, pillarise

RANGE = [0.0, -2.0, -3.0, 4.0, 2.0, 1.0]
GRID = Grid(tuple(RANGE), (0.5, 0.5))
MOST, WIDTH, EPS = 4, 8, 1e-3


def tensors():
    draw = torch.Generator().manual_seed(1)
    norm = {
        "weight": torch.randn(WIDTH, generator=draw),
        "bias": torch.randn(WIDTH, generator=draw),
        "running_mean": torch.randn(WIDTH, generator=draw),
        "running_var": torch.rand(WIDTH, generator=draw),
        "num_batches_tracked": torch.tensor(5),
    }
    linear = torch.randn(WIDTH, 10, generator=draw)
    name = "vfe.pfn_layers.0"
    return {f"{name}.linear.weight": linear} | {f"{name}.norm.{k}": v for k, v in norm.items()}


def as_published(points, legacy: bool) -> torch.Tensor:
    """Rows (m, WIDTH) of pillars by the projects' formula: ten values, filled up with zeros."""
    pillars = pillarise(points, GRID, 1)
    w, norm = tensors()["vfe.pfn_layers.0.linear.weight"], torch.nn.BatchNorm1d(WIDTH, eps=EPS)
    norm.load_state_dict({k.split("norm.")[1]: v for k, v in tensors().items() if "norm" in k})
    rows, begin = [], 0
    for count, (_, y, x) in zip(pillars.counts.tolist(), pillars.coordinates.tolist(), strict=True):
        p = pillars.points[begin : begin + count][:MOST]
        begin += count
        centre = torch.tensor([x * 0.5 + 0.25, y * 0.5 - 1.75, -1.0])
        offset = p[:, :3] - centre
        first = torch.cat([offset if legacy else p[:, :3], p[:, 3:]], dim=1)
        ten = torch.cat([first, p[:, :3] - p[:, :3].mean(0), offset], dim=1)
        ten = torch.cat([ten, torch.zeros(MOST - len(p), 10)])
        rows.append(torch.relu(norm.eval()(ten @ w.T)).max(0).values)
    return torch.stack(rows).detach()


def cloud(count=60):
    draw = torch.Generator().manual_seed(2)
    size, corner = torch.tensor([4.0, 4.0, 4.0, 1.0]), torch.tensor([0.0, -2.0, -3.0, 0.0])
    points = torch.rand(count, 4, generator=draw) ** 3 * size + corner
    return torch.cat([torch.zeros(count, 1), points], dim=1)


@pytest.mark.parametrize("legacy", [False, True])
def test_pillars_are_as_published(legacy):
    encoder = PillarEncoder(WIDTH, 0.1, padding=MOST).eval()
    t = Transfer(Checkpoint(None, "openpcdet", tensors(), {}), encoder)
    t.wanted = {f"encoder.{k}": v for k, v in t.wanted.items()}
    options = {"point_range": RANGE}
    settings = Settings(("Car",), options, "here", legacy)
    fill_pillars(t, NAMES["openpcdet"], "encoder", settings)
    encoder.load_state_dict({k.removeprefix("encoder."): v for k, v in t.given.items()})
    pillars = pillarise(cloud(), GRID, 1, MOST)
    assert int(pillars.counts.max()) == MOST and int(pillars.counts.min()) == 1
    found = encoder(decorate(pillars, GRID), pillars.counts)
    torch.testing.assert_close(found, as_published(cloud(), legacy), rtol=1e-4, atol=1e-4)
    encoder.padding = 0  # without filling up it is another function
    assert not torch.allclose(encoder(decorate(pillars, GRID), pillars.counts), found, atol=1e-2)


def test_a_padded_encoder_cannot_be_trained():
    pillars = pillarise(cloud(), GRID, 1)
    with pytest.raises(UsageError, match="cannot be trained"):
        PillarEncoder(WIDTH, 0.1, padding=MOST)(decorate(pillars, GRID), pillars.counts)


def test_anchors_go_back_into_the_order_of_the_file():
    # The file: Pedestrian, Cyclist, Car; kdbench: Car, Pedestrian, Cyclist.
    order = Settings(("Pedestrian", "Cyclist", "Car"), {}, "here").order
    assert order == [2, 0, 1]
    own = torch.tensor([[20, 21, 0, 1, 10, 11]]).unsqueeze(-1)  # ten times the place in the file
    assert file_anchors(own, order).flatten().tolist() == [0, 1, 10, 11, 20, 21]
