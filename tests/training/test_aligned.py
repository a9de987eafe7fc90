"""A teacher of another detector, on its student's grid."""

from dataclasses import replace

import pytest
import torch

from kdbench.errors import NotApplicable
from kdbench.ops.resample import nearest
from kdbench.runs import store
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import MethodSpec
from kdbench.taps import Kind
from kdbench.training.aligned import (
    Aligned,
    as_teacher,
    check_teacher,
    own_network,
    seen_by_method,
)
from kdbench.training.common_grid import Window, common_window
from kdbench.training.conformance import CLASSES, OTHER_GRID, make_confident, tiny_scene
from kdbench.training.loop import in_float32
from kdbench.training.teachers import reader


def network(name, ratio=16.0, seed=0, **options):
    torch.manual_seed(seed)
    spec = build_spec(profile="tiny", detector=name, ratio=ratio).detector
    options = spec.options | {k: v for k, v in options.items() if k in spec.options}
    return build_detector(replace(spec, options=options), CLASSES).eval().requires_grad_(False)


STUDENT = network("pointpillars")
SECOND = network("second", seed=1, **OTHER_GRID)  # cells of 1.024 m, 16.4 x 16.4 m
SCENE = tiny_scene(STUDENT.point_range)


@pytest.fixture
def teacher():
    return as_teacher(SECOND, STUDENT)


@pytest.fixture
def taps(teacher):
    return teacher(teacher.prepare(SCENE))


def test_a_network_of_the_students_kind_is_its_own_teacher():
    other = network("pointpillars", 1.0)
    assert as_teacher(other, STUDENT) is other and own_network(other) is other
    taps = STUDENT(STUDENT.prepare(SCENE))
    assert seen_by_method(other, taps) is taps


def test_on_the_same_grid_nothing_changes():
    other = network("pointpillars", 4.0, seed=2)
    aligned, inputs = Aligned(other, STUDENT), other.prepare(SCENE)
    found, own = aligned(inputs), other(inputs)
    maps = {name for name, spec in other.taps.items() if spec.kind in (Kind.BEV, Kind.CLS)}
    assert maps < aligned.taps.keys() == maps | {"head.box"}
    assert all(torch.equal(found[name], own[name]) for name in maps)
    torch.testing.assert_close(found["head.box"], own["head.box"], rtol=1e-4, atol=1e-5)


def test_taps_have_the_shapes_of_the_students_that_methods_see(teacher, taps):
    shown = seen_by_method(teacher, STUDENT(STUDENT.prepare(SCENE)))
    for name, spec in teacher.taps.items():
        own, other = taps[name], shown[name]
        channel = 1 if spec.kind is Kind.BEV else 4
        assert own.shape[channel] == spec.channels
        assert other.shape[channel] == teacher.student_taps[name].channels
        sizes = [[n for i, n in enumerate(x.shape) if i != channel] for x in (own, other)]
        assert sizes[0] == sizes[1]
        assert spec.cell == STUDENT.taps[name].cell
        assert spec.origin == teacher.student_taps[name].origin
    # In whole cells of the coarsest map, 5.12 m.
    ranges = STUDENT.point_range, SECOND.point_range
    assert common_window(STUDENT.taps, *ranges) == Window(0.0, 5.12, 15.36, 15.36)


def test_a_pedestrian_of_the_teachers_is_where_it_was(teacher, taps):
    """Decoded at the student's places, boxes are those of the teacher's cell there."""
    found = teacher.taps["head.box"].decode(taps["head.box"])
    pair = teacher.pairs["head.box"]
    own = SECOND(SECOND.prepare(SCENE))["head.box"]
    expected = nearest(SECOND.taps["head.box"].decode(own), pair.cells, pair.student.cells)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_what_is_left_of_a_head_keeps_its_code(teacher):
    codes = torch.randn(2, 16, 16, 6, 7)
    whole, spec = STUDENT.taps["head.box"], teacher.student_taps["head.box"]
    boxes = teacher.cuts["head.box"].of(whole.decode(codes))
    cut = teacher.cuts["head.box"].of(codes)
    assert cut.shape[1:3] == (8, 12)
    torch.testing.assert_close(spec.decode(cut), boxes)
    torch.testing.assert_close(spec.encode(boxes), cut, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["pointpillars", "second", "centerpoint"])
def test_encoding_is_the_inverse_of_decoding(name):
    spec = network(name).taps["head.box"]
    with torch.no_grad():
        shape = network(name)(network(name).prepare(SCENE))["head.box"].shape
    codes = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.5
    boxes = spec.decode(codes)
    torch.testing.assert_close(spec.decode(spec.encode(boxes)), boxes, rtol=1e-4, atol=1e-4)


def test_it_finds_what_its_network_finds(teacher):
    make_confident(SECOND)
    inputs = SECOND.prepare(SCENE)
    expected = SECOND.predict(SECOND(inputs))
    found = teacher.predict(teacher(teacher.prepare(SCENE)))
    assert sum(len(f.boxes) for f in found) > 0
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one.boxes, other.boxes) and torch.equal(one.scores, other.scores)


def test_its_head_goes_on_from_a_map_on_the_students_grid(teacher, taps):
    maps = taps["neck"].clone().requires_grad_()
    outputs = teacher.taps["neck"].apply(maps)
    pair = teacher.pairs["neck"]
    direct = SECOND.taps["neck"].apply(pair.returned(maps))["cls"]
    assert torch.equal(outputs["cls"], nearest(direct, pair.cells, pair.student.cells))
    assert set(outputs) == {"cls", "box"}
    (outputs["cls"].sum() + outputs["box"].sum()).backward()
    assert maps.grad.abs().sum() > 0
    assert all(p.grad is None for p in SECOND.parameters())


def test_a_folded_reader_shows_the_same(teacher):
    inputs = teacher.prepare(SCENE)

    class Learns:
        teacher = "trained"

    folded = reader(teacher, Learns, inputs)
    assert sum(1 for _ in folded.modules()) == sum(1 for _ in teacher.modules())
    plain, other = (in_float32(dict(t(inputs))) for t in (teacher, folded))
    for name in teacher.taps:
        torch.testing.assert_close(plain[name], other[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "method, options, why",
    [
        ("pointdistiller", {}, r"voxel \(rows\) of pointpillars has no partner"),
        ("at", {}, r"backbone.2 \(bev\) of pointpillars has no partner"),
        ("tgi", {}, "it copies weights of a pointpillars"),
        ("shuffled", {"method": "relation"}, r"'relation' .* voxel \(rows\)"),
    ],
)
def test_what_has_no_partner_is_told(teacher, method, options, why):
    with pytest.raises(NotApplicable, match=why):
        check_teacher(MethodSpec(method, options), STUDENT, teacher)


def test_networks_that_see_no_place_in_common_are_told():
    behind = network("second", point_range=[-20.48, -10.24, -3.0, -10.24, 10.24, 1.0])
    with pytest.raises(NotApplicable, match="no place in common"):
        as_teacher(behind, STUDENT)
    with pytest.raises(NotApplicable, match="a student without maps"):
        as_teacher(SECOND, network("pointrcnn"))


def test_a_run_learns_from_a_teacher_of_another_detector(make_runner, kitti_tree):
    spec = build_spec(
        profile="tiny", dataset="kitti", method="kd", ratio=4.0, teacher_detector="second",
        overrides={"train.steps": 2, "teacher.steps": 2},
    )  # fmt: skip
    runner = make_runner()
    record = runner.run(spec)
    (taught,) = runner.results.glob("*/second-x1/none/*.json")
    assert record["teacher"] in taught.name
    assert record["spec"]["teacher"]["detector"] == "second"
    trained = store.load_trained(spec.from_dict(record["spec"]).teacher_run())
    assert record["teacher_weights"] == store.checksum(trained.state_dict())
    with pytest.raises(NotApplicable, match="backbone.2"):
        runner.run(replace(spec, method=MethodSpec("at")))
