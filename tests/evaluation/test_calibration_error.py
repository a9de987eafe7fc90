import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.evaluation.calibration_error import BINS, calibration, error, pooled
from kdbench.geometry.kitti_labels import empty, from_table


def car(place, score=1.0, occluded=0, name="Car"):
    """One object row; objects of different places do not overlap."""
    space = (1.5, 1.6, 4.0, 10.0 * place, 1.7, 20.0, 0.0)
    return name, (0.0, occluded, 0.5, 100.0, 100.0, 180.0, 160.0, *space, score)


def objects(rows):
    return from_table([r[0] for r in rows], np.array([r[1] for r in rows])) if rows else empty()


def cars(rows):
    """The calibration of detections (score, right), each in a frame with one car."""
    truth = {str(i): objects([car(0)]) for i in range(len(rows))}
    found = {str(i): objects([car(0 if right else 5, s)]) for i, (s, right) in enumerate(rows)}
    return calibration(truth, found, ("Car",))


def naive(rows):
    """The error bin by bin."""
    total = 0.0
    rows = [(s, r) for s, r in rows if s > 0.1]
    for b in range(BINS):
        low, high = 0.1 + 0.09 * b, 0.1 + 0.09 * (b + 1)
        own = [(s, r) for s, r in rows if low <= s < high or (b == BINS - 1 and s == 1)]
        if own:
            scores, right = np.array(own, float).T
            total += len(own) / len(rows) * abs(right.mean() - scores.mean())
    return total if rows else None


def test_three_of_four_right_at_a_score_of_six_tenths():
    result = cars([(0.6, True), (0.6, True), (0.6, True), (0.6, False)])
    for metric in ("bev", "3d"):
        assert result[metric]["error"]["car"] == pytest.approx(0.15)
        assert result[metric]["error"]["mean"] == pytest.approx(0.15)
    bins = result["bev"]["bins"]["car"]
    assert (bins["count"], bins["right"]) == ([0] * 5 + [4] + [0] * 4, [0] * 5 + [3] + [0] * 4)
    assert bins["score"] == [None] * 5 + [pytest.approx(0.6)] + [None] * 4


def test_bins_weigh_as_much_as_they_hold():
    rows = [(0.95, True)] * 3 + [(0.15, True)]
    assert cars(rows)["3d"]["error"]["car"] == pytest.approx((3 * 0.05 + 0.85) / 4)


# Not on the borders of bins, where rounding decides.
scores = st.floats(0.02, 1).filter(lambda s: abs((s - 0.1) / 0.09 % 1 - 0.5) < 0.499)


@settings(max_examples=40)
@given(st.lists(st.tuples(scores, st.booleans()), min_size=1, max_size=12))
def test_error_agrees_with_a_naive_one(rows):
    expected = naive(rows)
    found = cars(rows)["bev"]["error"]["car"]
    assert found is None if expected is None else found == pytest.approx(expected)


def test_what_is_ignored_is_left_out():
    truth = {"0": objects([car(0), car(1, occluded=3)])}
    found = {"0": objects([car(0, 0.8), car(1, 0.8), car(5, 0.1)])}
    bins = calibration(truth, found, ("Car",))["bev"]["bins"]["car"]
    assert (sum(bins["count"]), sum(bins["right"])) == (1, 1)


def test_a_class_without_detections_has_no_error_and_no_part_in_the_mean():
    truth = {"0": objects([car(0)]), "1": objects([])}
    found = {"0": objects([car(0, 0.8)])}
    assert calibration(truth, found)["bev"]["error"] == {
        "car": pytest.approx(0.2), "pedestrian": None, "cyclist": None,
        "mean": pytest.approx(0.2),
    }  # fmt: skip
    assert calibration(truth, {})["3d"]["error"]["mean"] is None


@settings(max_examples=40)
@given(st.lists(st.tuples(scores, st.booleans()), min_size=2, max_size=12), st.integers(1, 11))
def test_bins_of_two_parts_are_those_of_the_whole(rows, cut):
    parts = [part for part in (rows[:cut], rows[cut:]) if part]
    whole = cars(rows)["bev"]["bins"]["car"]
    both = pooled([cars(part)["bev"]["bins"]["car"] for part in parts])
    assert (both["count"], both["right"]) == (whole["count"], whole["right"])
    assert error(both) == pytest.approx(error(whole))
