import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdbench.detector import Detections
from kdbench.errors import DataError
from kdbench.evaluation.agreement import agreement

NAMES = ("Car", "Pedestrian", "Cyclist")


def found(*rows) -> Detections:
    """Detections of rows (place, score, label, shift along the length of 4 m)."""
    rows = [(*row, *(0, 0.0)[len(row) - 2 :]) for row in rows]
    boxes = [(10.0 * p + shift, 0, 0, 4, 2, 1.5, 0) for p, _, _, shift in rows]
    return Detections(
        torch.tensor(boxes).reshape(-1, 7),
        torch.tensor([r[1] for r in rows], dtype=torch.float32),
        torch.tensor([r[2] for r in rows], dtype=torch.long),
    )


def agree(teacher, student):
    return agreement({"0": found(*teacher)}, {"0": found(*student)}, NAMES)


def test_the_same_detections_agree_in_all():
    rows = [(0, 0.9), (1, 0.5, 1), (2, 0.7, 2), (3, 0.4)]
    result = agree(rows, rows)
    assert result["f1"] == result["recall"] == result["precision"] == 1
    assert [result[k] for k in ("iou", "pearson", "spearman")] == pytest.approx([1, 1, 1])
    assert result["classes"] == {"car": 1, "pedestrian": 1, "cyclist": 1}


def test_shares_of_both_sides():
    result = agree([(i, 0.5) for i in range(4)], [(0, 0.5), (1, 0.6), (9, 0.7)])
    assert result["recall"] == 2 / 4
    assert result["precision"] == 2 / 3
    assert result["f1"] == 4 / 7
    assert (result["teacher"], result["student"], result["pairs"]) == (4, 3, 2)
    assert result["classes"] == {"car": 4 / 7, "pedestrian": None, "cyclist": None}


@pytest.mark.parametrize(
    "other", [(0, 0.9, 1), (0, 0.29), (0, 0.9, 0, 0.8)], ids=["class", "score", "overlap"]
)
def test_what_is_no_agreement(other):
    assert agree([(0, 0.9)], [other])["pairs"] == 0


def test_overlap_is_measured():
    assert agree([(0, 0.9)], [(0, 0.9, 0, 0.4)])["iou"] == pytest.approx(3.6 / 4.4)
    # A pedestrian may be further off than a car.
    assert agree([(0, 0.9, 1)], [(0, 0.9, 1, 0.8)])["iou"] == pytest.approx(3.2 / 4.8)


def test_a_detection_agrees_once_and_with_the_most_certain_one():
    result = agree([(0, 0.9), (5, 0.9), (6, 0.9)], [(0, 0.4), (0, 0.8, 0, 0.3), (5, 0.5), (6, 0.6)])
    assert result["pairs"] == 3
    assert result["iou"] == pytest.approx((3.7 / 4.3 + 1 + 1) / 3)


def test_ranks_of_scores_may_agree_where_scores_do_not():
    teacher, student = (0.3, 0.4, 0.5, 0.9), (0.5, 0.51, 0.52, 0.99)
    result = agree(*([(i, s) for i, s in enumerate(side)] for side in (teacher, student)))
    assert result["spearman"] == pytest.approx(1)
    assert result["pearson"] == pytest.approx(np.corrcoef(teacher, student)[0, 1])
    assert result["pearson"] < 0.97


def test_no_correlation_of_two_pairs_or_of_equal_scores():
    two = [(0, 0.4), (1, 0.5)]
    assert agree(two, two)["pearson"] is None
    equal = [(i, 0.5) for i in range(5)]
    assert agree(equal, equal)["spearman"] is None


@given(st.integers(0, 10**6))
def test_teacher_and_student_may_change_places(seed):
    rng = np.random.default_rng(seed)
    sides = [
        {
            f: found(*((rng.integers(0, 4), rng.uniform(0.2, 1), rng.integers(0, 2),
                        rng.uniform(-0.5, 0.5)) for _ in range(rng.integers(1, 8))))
            for f in "ab"
        }
        for _ in range(2)
    ]  # fmt: skip
    one, other = agreement(*sides, NAMES), agreement(*sides[::-1], NAMES)
    assert (one is None) == (other is None)
    if one is not None:
        for key, mirrored in (("f1", "f1"), ("recall", "precision"), ("pairs", "pairs")):
            assert one[key] == other[mirrored]
        assert one["iou"] == pytest.approx(other["iou"])
        assert one["spearman"] == pytest.approx(other["spearman"])


def test_nothing_detected_and_nothing_shared():
    assert agree([], [(0, 0.1)]) is None
    assert agree([], [(0, 0.9)])["recall"] is None
    assert agree([], [(0, 0.9)])["f1"] == 0


def test_different_frames_are_refused():
    with pytest.raises(DataError, match="different frames"):
        agreement({"0": found((0, 0.9))}, {"1": found((0, 0.9))}, NAMES)
