"""Options for networks from elsewhere: what each does, and that none of them does so by itself."""

import math

import pytest
import torch

from kdbench.detectors.layers.anchors import (
    AnchorForm,
    anchor_form,
    decode,
    heading_bin,
    make_anchors,
    set_heading,
)
from kdbench.errors import UsageError
from kdbench.ops.point_grouping import three_nearest
from kdbench.ops.voxelise import Grid, pillarise, voxelise
from kdbench.registry import detectors
from kdbench.registry.options import complete, lean

CLASSES = ("Car", "Pedestrian", "Cyclist")
RANGE = (0.0, -2.0, -3.0, 8.0, 6.0, 1.0)
NAMES = ("pointpillars", "second", "centerpoint", "pointrcnn")


@pytest.mark.parametrize("name", NAMES)
def test_specs_do_not_know_them_at_their_defaults(name):
    plugin = detectors.get(name)
    everything = complete("detector", plugin, {})
    assert set(plugin.neutral) <= set(everything)
    assert not set(plugin.neutral) & set(lean(plugin, everything))


@pytest.mark.parametrize("name", NAMES)
def test_widths_replace_those_of_a_ratio(name):
    plugin = detectors.get(name)
    widths = [3 + i for i in range(len(plugin.published_widths))]
    found = plugin(CLASSES, widths=widths)
    tap = "points" if name == "pointrcnn" else "backbone.0"
    assert found.taps[tap].channels in widths
    same = plugin(CLASSES, 16.0), plugin(CLASSES, widths=[w // 4 for w in plugin.published_widths])
    shapes = [{k: v.shape for k, v in network.state_dict().items()} for network in same]
    assert shapes[0] == shapes[1]
    with pytest.raises(UsageError, match=f"widths must be {len(widths)} numbers"):
        plugin(CLASSES, widths=widths[1:])


def test_strides_change_the_size_of_a_cell_of_the_head():
    plugin = detectors.get("centerpoint")
    assert plugin(CLASSES, 16.0).taps["head.cls"].cell == pytest.approx(0.32)
    assert plugin(CLASSES, 16.0, strides=(1, 2, 2)).taps["head.cls"].cell == pytest.approx(0.16)
    with pytest.raises(UsageError, match="only the first"):
        plugin(CLASSES, 16.0, strides=(1, 1, 2))


def test_anchors_stand_from_end_to_end():
    form = AnchorForm(at="ends", headings=(0.0, 1.57), sizes=((1, 2, 3),) * 3, bottoms=(-1,) * 3)
    anchors = make_anchors(CLASSES, RANGE, 5, 3, form)
    assert anchors[0, :, 0, 0].tolist() == [0, 4, 8]
    assert anchors[:, 0, 0, 1].tolist() == [-2, 0, 2, 4, 6]
    assert anchors[..., 2].unique().tolist() == [0.5]
    assert anchors[0, 0, 5, 3:6].tolist() == [1, 2, 3]
    assert anchors[0, 0, :2, 6].tolist() == [0, pytest.approx(1.57)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"headigs": [0, 1]}, "did you mean 'headings'"),
        ({"at": "corners"}, "centres or ends"),
        ({"headings": [0, 1, 2]}, "2 headings"),
    ],
)
def test_a_wrong_form_of_anchors_is_told(values, words):
    with pytest.raises(UsageError, match=words):
        anchor_form(values)
    with pytest.raises(UsageError, match="3 classes need as many sizes"):
        make_anchors(CLASSES, RANGE, 2, 2, AnchorForm(sizes=((1, 1, 1),)))


@pytest.mark.parametrize("first", [0.78539, -math.pi / 2, -math.pi / 4, 3.0])
def test_direction_0_is_the_half_turn_from_its_begin_on(first):
    turn = torch.linspace(0.01, math.pi - 0.01, 50)
    assert (heading_bin(first + turn, first) == 0).all()
    assert (heading_bin(first + turn + math.pi, first) == 1).all()
    back = set_heading(first + turn + math.pi, torch.zeros(50), first)
    torch.testing.assert_close(back.sin(), (first + turn).sin(), atol=1e-5, rtol=0)


def test_sizes_are_clamped_unless_told_otherwise():
    anchor = torch.tensor([0.0, 0, 0, 1, 1, 1, 0])
    codes = torch.tensor([0.0, 0, 0, 5, 0, 0, 0])
    assert decode(codes, anchor)[3] == pytest.approx(math.exp(4))
    free = anchor_form({"clamped": False}).largest
    assert decode(codes, anchor, free)[3] == pytest.approx(math.exp(5))


def test_a_cap_keeps_the_first_points_of_each_cell():
    grid = Grid((0.0, 0.0, 0.0, 2.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    x = torch.tensor([0.5, 1.5, 0.5, 0.5, 1.5, 0.5, 0.5])
    points = torch.zeros(7, 5)
    points[:, 1], points[:, 2:4], points[:, 4] = x, 0.5, torch.arange(7)
    pillars, voxels = (sort(points, grid, 1, most=3) for sort in (pillarise, voxelise))
    assert pillars.counts.tolist() == voxels.counts.tolist() == [3, 2]
    assert pillars.points[:, 3].tolist() == [0, 2, 3, 1, 4]
    assert pillars.row.tolist() == [0, 0, 0, 1, 1]
    assert voxels.features[:, 3].tolist() == [pytest.approx(5 / 3), 2.5]
    assert pillarise(points, grid, 1, most=9).counts.tolist() == [5, 2]


def test_interpolation_by_plain_distances():
    points = torch.tensor([[[1.0, 0, 0], [2, 0, 0], [4, 0, 0]]])
    _, weight = three_nearest(torch.zeros(1, 1, 3), points, power=1)
    torch.testing.assert_close(weight[0, 0], torch.tensor([4.0, 2, 1]) / 7)
    _, weight = three_nearest(torch.zeros(1, 1, 3), points)
    torch.testing.assert_close(weight[0, 0], torch.tensor([16.0, 4, 1]) / 21)


def test_epsilons_reach_every_norm_of_their_part():
    rcnn = detectors.get("pointrcnn")(CLASSES, 16.0, norm_eps=1e-5)
    center = detectors.get("centerpoint")(CLASSES, 16.0, head_eps=1e-5)
    for part, eps in ((rcnn, 1e-5), (center.head, 1e-5), (center.backbone, 1e-3)):
        assert {m.eps for m in part.modules() if hasattr(m, "eps")} == {eps}
