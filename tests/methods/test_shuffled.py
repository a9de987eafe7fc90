"""The teacher's taps in random order."""

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.methods.at import AttentionTransfer
from kdbench.methods.shuffled import Shuffled
from kdbench.taps import Kind, TapSpec


@pytest.fixture
def specs(teacher_specs):
    return teacher_specs | {"head.box": TapSpec(Kind.BOX, 7)}


@pytest.fixture
def taps(teacher, generator):
    box = torch.randn(2, 8, 12, 6, 7, generator=generator, dtype=torch.float64)
    return teacher | {"head.box": box}


def cells(name, tap):
    """Positions (frame, position, values) of a tap."""
    if name.startswith("head"):
        return tap.flatten(1, 2).flatten(2)
    return tap.flatten(2).transpose(1, 2)


def as_set(frame):
    return sorted(map(tuple, frame.tolist()))


def shuffled(specs, taps):
    torch.manual_seed(0)
    return Shuffled(specs, specs).permuted(taps)


def test_each_frame_keeps_its_values_in_another_order(specs, taps):
    after = shuffled(specs, taps)
    for name in ("neck", "backbone.1", "head.cls", "head.box"):
        assert after[name].shape == taps[name].shape
        pairs = zip(cells(name, taps[name]), cells(name, after[name]), strict=True)
        for before, frame in pairs:
            assert as_set(before) == as_set(frame)
            assert (before == frame).all(-1).float().mean() < 0.2


def test_what_belongs_to_a_cell_stays_together(specs, taps):
    after = shuffled(specs, taps)
    names = ("neck", "head.cls", "head.box")  # maps of one size
    before, found = (torch.cat([cells(n, t[n]) for n in names], dim=2) for t in (taps, after))
    for a, b in zip(before, found, strict=True):
        assert as_set(a) == as_set(b)


def test_rows_stay_in_their_frame_and_keep_their_place(specs, taps):
    before, after = taps["voxel"], shuffled(specs, taps)["voxel"]
    assert torch.equal(before.coordinates, after.coordinates)
    assert torch.equal(before.counts, after.counts)
    assert not torch.equal(before.features, after.features)
    for rows in (slice(14), slice(14, 24)):
        assert as_set(before.features[rows]) == as_set(after.features[rows])


def test_the_teacher_is_not_changed_and_no_two_steps_are_alike(specs, taps):
    before, method = taps["neck"].clone(), Shuffled(specs, specs)
    first, second = (method.permuted(taps)["neck"] for _ in range(2))
    assert torch.equal(taps["neck"], before)
    assert not torch.equal(first, second)


def test_the_wrapped_method_learns_from_the_shuffled_taps(
    student, teacher, batch, student_specs, teacher_specs
):
    method = Shuffled(student_specs, teacher_specs, method="at")
    torch.manual_seed(5)
    found = method(student, teacher, batch)["attention"]
    torch.manual_seed(5)
    inner = AttentionTransfer(student_specs, teacher_specs)
    assert found == inner(student, method.permuted(teacher), batch)["attention"]
    assert found != inner(student, teacher, batch)["attention"]


def test_what_a_detector_keeps_to_itself_stays_as_it_is(specs, taps):
    kept = object()
    assert shuffled(specs, taps | {"_kept": kept})["_kept"] is kept


def test_an_empty_cloud_is_no_trouble(specs, taps):
    rows = taps["voxel"]
    assert len(shuffled(specs, {"voxel": rows[:0]})["voxel"].features) == 0


@pytest.mark.parametrize("name, message", [("none", "trained teacher"), ("nonsense", "unknown")])
def test_a_method_it_cannot_wrap_is_refused(specs, name, message):
    with pytest.raises(UsageError, match=message):
        Shuffled(specs, specs, method=name)


def test_a_tap_that_is_missing_is_named(specs):
    del specs["voxel"]
    with pytest.raises(UsageError, match="relation.*needs voxel"):
        Shuffled(specs, specs, method="relation")
