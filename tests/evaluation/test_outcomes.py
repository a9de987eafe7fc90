import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.evaluation.difficulty import DIFFICULTIES
from kdbench.evaluation.kitti_ap import match
from kdbench.evaluation.outcomes import LEFT_OUT, RIGHT, WRONG, outcome
from kdbench.geometry.kitti_labels import KittiObjects, empty, from_table

CLASSES = ("Car", "Pedestrian", "Cyclist")
NAMES = np.array(["Car", "Car", "Van", "Pedestrian", "Person_sitting", "Cyclist", "DontCare"])


def objects(names, x=None, height=40.0, scores=None, occluded=0) -> KittiObjects:
    """Cars' boxes side by side, at x metres to the right of the camera and 20 before it."""
    n = len(names)
    table = np.zeros((n, 15))
    table[:, 1] = occluded
    table[:, 3:7] = np.array([100, 100, 150, 100]) + np.outer(np.full(n, height), [0, 0, 0, 1])
    table[:, 7:10] = 1.5, 1.6, 4.0
    table[:, 10:13] = 0, 1.7, 20
    table[:, 10] = np.arange(n) * 10 if x is None else x
    table[:, 14] = 1.0 if scores is None else scores
    return from_table(list(names), table)


def verdicts(truth, found, **named) -> tuple[list[int], list[int]]:
    result = outcome(truth, found, CLASSES, **named)
    return result.truth.tolist(), result.found.tolist()


def test_what_is_where_it_should_be_is_found():
    cars = objects(["Car", "Car", "Pedestrian"])
    assert verdicts(cars, cars) == ([RIGHT] * 3, [RIGHT] * 3)


def test_misses_and_false_alarms():
    truth = objects(["Car", "Car"], [0, 10])
    found = objects(["Car", "Car", "Pedestrian"], [0.1, 50, 10])
    assert verdicts(truth, found) == ([RIGHT, WRONG], [RIGHT, WRONG, WRONG])
    result = outcome(truth, found, CLASSES)
    assert (result.hits, result.misses, result.false_alarms) == (1, 1, 2)


def test_one_object_takes_one_detection_the_closest():
    found = objects(["Car", "Car"], [0.2, 0.05])
    assert verdicts(objects(["Car"]), found) == ([RIGHT], [WRONG, RIGHT])


def test_a_class_has_its_own_overlap():
    aside = [0.6]  # IoU 3.4 / 4.6 along the width: 0.74; and 0.5 for 1.4 m
    assert verdicts(objects(["Car"]), objects(["Car"], aside))[0] == [RIGHT]
    assert verdicts(objects(["Car"]), objects(["Car"], [0.8]))[0] == [WRONG]
    assert verdicts(objects(["Cyclist"]), objects(["Cyclist"], [0.8]))[0] == [RIGHT]


def test_what_does_not_count_is_neither_hit_nor_miss():
    hidden = objects(["Car"], occluded=3)
    assert verdicts(hidden, objects(["Car"])) == ([LEFT_OUT], [LEFT_OUT])
    assert verdicts(objects(["Van"]), objects(["Car"])) == ([LEFT_OUT], [LEFT_OUT])
    assert verdicts(objects(["Car"]), objects(["Car"], height=20)) == ([LEFT_OUT], [LEFT_OUT])
    assert verdicts(objects(["Truck"]), objects(["Car"])) == ([LEFT_OUT], [WRONG])


def test_nothing_at_all():
    assert verdicts(empty(), empty()) == ([], [])
    assert verdicts(objects(["Car"]), empty()) == ([WRONG], [])
    assert verdicts(empty(), objects(["Car"])) == ([], [WRONG])


def random_frame(seed: int) -> tuple[KittiObjects, KittiObjects]:
    """Objects in a crowd, detections near them, all of different scores."""
    rng = np.random.default_rng(seed)
    n, m = rng.integers(0, 9, 2)
    truth = objects(NAMES[rng.integers(0, 7, n)], rng.uniform(0, 12, n))
    truth.occluded[:] = rng.integers(0, 4, n)
    truth.bbox[:, 3] = truth.bbox[:, 1] + rng.uniform(20, 60, n)
    found = objects(NAMES[[0, 3, 5]][rng.integers(0, 3, m)], rng.uniform(0, 12, m))
    near = rng.random(m) < 0.7
    if n:
        found.location[near, 0] = truth.location[rng.integers(0, n, near.sum()), 0]
        found.location[near, 0] += rng.normal(0, 0.3, near.sum())
    found.bbox[:, 3] = found.bbox[:, 1] + rng.uniform(20, 60, m)
    found.score[:] = rng.permutation(m) / 10 + 0.1
    return truth, found


@pytest.mark.parametrize("metric", ["bev", "3d"])
@pytest.mark.parametrize("difficulty", list(DIFFICULTIES))
@given(seed=st.integers(0, 10**6))
def test_counts_are_those_of_the_evaluator(metric, difficulty, seed):
    truth, found = random_frame(seed)
    matches = match({"0": truth}, {"0": found}, CLASSES)
    changes = [matches.changes[name.lower(), metric, difficulty] for name in CLASSES]
    result = outcome(truth, found, CLASSES, metric, difficulty)
    assert result.hits == sum(c.true_positives.sum() for c in changes)
    assert result.false_alarms == sum(c.false_positives.sum() for c in changes)
    positives = sum(matches.positives[name.lower(), difficulty].sum() for name in CLASSES)
    assert result.hits + result.misses <= positives
    assert (result.found == RIGHT).sum() == result.hits
