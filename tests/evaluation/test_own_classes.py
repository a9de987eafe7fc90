"""The evaluation of classes that are not KITTI's."""

from dataclasses import replace

import numpy as np
import pytest

from kdbench.class_table import parse_table
from kdbench.classes import ObjectClass
from kdbench.evaluation.kitti_ap import evaluate
from kdbench.evaluation.outcomes import outcome
from kdbench.geometry.kitti_labels import empty, from_table

LENGTH = 2.4


def objects(names, shift=0.0):
    """Boxes in a row, 5 m apart and in line with the camera's x axis, moved along it by a shift."""
    row = [0, 0, 0, 500, 150, 700, 220, 2.0, 1.2, LENGTH, 0, 1.7, 20, 0]
    table = np.array([row] * len(names), float)
    table[:, 10] = shift + 5.0 * np.arange(len(names))
    return from_table(names, table)


def ap(truth, found, classes, metric="bev"):
    """R40 at moderate difficulty by class, of 50 frames."""
    frames = {str(i): truth for i in range(50)}
    result = evaluate(frames, {i: found for i in frames}, classes, fill_recall=True)
    return {name: by[metric]["R40"][1] for name, by in result.items()}


@pytest.mark.parametrize("count", [1, 4, 10])
def test_a_perfect_prediction_has_100_in_each_class(count):
    names = [f"Thing{i}" for i in range(count)]
    truth = objects(names)
    for metric in ("bbox", "aos", "bev", "3d"):
        found = ap(truth, truth, parse_table(dict.fromkeys(names)), metric)
        assert found == {name.lower(): pytest.approx(100) for name in names}


@pytest.mark.parametrize("overlap", [0.1, 0.3, 0.5, 0.85])
@pytest.mark.parametrize("metric", ["bev", "3d"])
def test_a_match_has_more_than_the_overlap(overlap, metric):
    # Two equal boxes of length L, d apart along it: IoU = (L - d) / (L + d).
    apart = LENGTH * (1 - overlap) / (1 + overlap)
    classes = parse_table({"Cart": {"overlap": overlap}, "Crate": {}})
    for shift, expected in ((0.99 * apart, 100), (1.01 * apart, 0)):
        moved = objects(["Cart"], shift)
        assert ap(objects(["Cart"]), moved, classes, metric)["cart"] == pytest.approx(expected)
        verdict = outcome(objects(["Cart"]), moved, classes, metric)
        assert (verdict.hits, verdict.false_alarms) == ((1, 0) if expected else (0, 1))


@pytest.mark.parametrize(("neighbour", "expected"), [("Crate", 100), (None, 50)])
def test_objects_of_a_neighbour_are_neither_hits_nor_misses(neighbour, expected):
    kinds = [ObjectClass("Cart", neighbour=neighbour)]
    truth = objects(["Cart", "Crate"])
    found = replace(truth, names=np.array(["Cart", "Cart"]))
    assert ap(truth, found, kinds)["cart"] == pytest.approx(expected)
    verdict = outcome(truth, found, kinds)
    assert (verdict.hits, verdict.false_alarms) == (1, 0 if neighbour else 1)
    assert outcome(truth, empty(), kinds).misses == 1
