"""KITTI AP: closed forms, a slow reference, and the numbers of KITTI's own development kit."""

import json
import subprocess
import sys

import numpy as np
import pytest

from kdbench.errors import DataError, UsageError
from kdbench.evaluation.kitti_ap import METRICS, evaluate, match
from kdbench.geometry import kitti_labels
from kdbench.geometry.rotated_iou import bev_iou

PERFECT = [100.0, 100.0, 100.0]


def car(place, score=1.0, name="Car", height=60, occluded=0, truncated=0.0, alpha=0.5):
    """One object row; objects at different places do not overlap, in the image or in space."""
    image = (100.0 * place, 100.0, 100.0 * place + 80, 100.0 + height)
    space = (1.5, 1.6, 4.0, 10.0 * place, 1.7, 20.0, 0.3)
    return name, (truncated, occluded, alpha, *image, *space, score)


def objects(*rows):
    if not rows:
        return kitti_labels.empty()
    return kitti_labels.from_table([r[0] for r in rows], np.array([r[1] for r in rows]))


def many_frames(rows, times=50):
    """Copies of one frame, enough that AP can reach 100."""
    return {f"{i:06d}": objects(*rows) for i in range(times)}


def cars(truth, found, **options):
    return evaluate(many_frames(truth), many_frames(found), ["Car"], **options)["car"]


# Closed forms.


def test_two_of_two_with_one_mistake_between():
    truth = {"0": objects(car(0), car(1))}
    found = {"0": objects(car(0, 0.9), car(5, 0.8), car(1, 0.7))}
    result = evaluate(truth, found, ["Car"], with_curves=True)["car"]
    # The kit samples two thresholds: precision 1 at point 0 and 2/3 at point 1.
    for metric in METRICS:
        assert result[metric]["precision"][0] == pytest.approx([100, 200 / 3] + [0] * 39)
        assert result[metric]["R11"] == pytest.approx([100 / 11] * 3)
        assert result[metric]["R40"] == pytest.approx([200 / 3 / 40] * 3)
    # Otherwise precision is 1 up to recall 1/2 and 2/3 from there to 1.
    filled = evaluate(truth, found, ["Car"], fill_recall=True)["car"]
    assert filled["3d"]["R40"] == pytest.approx([(20 + 20 * 2 / 3) / 40 * 100] * 3)
    assert filled["3d"]["R11"] == pytest.approx([(6 + 5 * 2 / 3) / 11 * 100] * 3)


def test_one_mistake_a_frame_at_equal_score_halves_precision():
    result = cars([car(0)], [car(0), car(5)])
    for metric in METRICS:
        assert result[metric]["R40"] == pytest.approx([50, 50, 50])
        assert result[metric]["R11"] == pytest.approx([50, 50, 50])


def test_orientation_counts_by_its_cosine():
    result = cars([car(0, alpha=0.2)], [car(0, alpha=0.2 + np.pi / 3)])
    assert result["bbox"]["R40"] == pytest.approx(PERFECT)
    assert result["aos"]["R40"] == pytest.approx([75, 75, 75])  # (1 + cos 60) / 2


def test_one_unknown_orientation_switches_aos_off():
    result = cars([car(0)], [car(0), car(3, name="Pedestrian", alpha=-10)])
    assert result["aos"] is None
    assert result["bbox"]["R40"] == pytest.approx(PERFECT)


@pytest.mark.parametrize(
    ("seen", "counts"),
    [
        ({}, [1, 1, 1]),
        ({"height": 40}, [0, 1, 1]),  # 40 pixels are too few for easy
        ({"height": 25}, [0, 0, 0]),
        ({"occluded": 1}, [0, 1, 1]),
        ({"occluded": 2}, [0, 0, 1]),
        ({"occluded": 3}, [0, 0, 0]),
        ({"truncated": 0.15}, [1, 1, 1]),
        ({"truncated": 0.16}, [0, 1, 1]),
        ({"truncated": 0.31}, [0, 0, 1]),
        ({"truncated": 0.51}, [0, 0, 0]),
    ],
)
def test_difficulty(seen, counts):
    # What does not count need not be found, and finding it is no mistake.
    assert cars([car(0, **seen)], [car(0, **seen)])["3d"]["R40"] == [100.0 * c for c in counts]
    result = cars([car(0, **seen), car(1)], [car(0, **seen), car(1)])
    assert result["3d"]["R40"] == pytest.approx(PERFECT)
    missed = cars([car(0, **seen), car(1)], [car(1)])["3d"]["R40"]
    assert [value < 60 for value in missed] == [bool(c) for c in counts]


@pytest.mark.parametrize(
    ("wanted", "neighbour"), [("Car", "Van"), ("Pedestrian", "Person_sitting")]
)
def test_finding_a_neighbour_class_is_no_mistake(wanted, neighbour):
    def ap(other):
        truth, found = (
            [car(0, name=wanted), car(1, name=other)],
            [
                car(0, name=wanted),
                car(1, name=wanted),
            ],
        )
        result = evaluate(many_frames(truth), many_frames(found), [wanted])
        return result[wanted.lower()]["3d"]["R40"]

    assert ap(neighbour) == pytest.approx(PERFECT)
    assert ap("Truck") == pytest.approx([50, 50, 50])


def test_dontcare_excuses_in_the_image_only():
    name, numbers = car(5, name="DontCare")
    stuff = name, (*numbers[:7], -1, -1, -1, -1000, -1000, -1000, -10, 1)
    result = cars([car(0), stuff], [car(0), car(5)])
    assert result["bbox"]["R40"] == pytest.approx(PERFECT)
    assert result["3d"]["R40"] == pytest.approx([50, 50, 50])


def test_a_small_mistake_is_ignored():
    result = cars([car(0)], [car(0), car(5, height=30)])
    assert result["bev"]["R40"] == pytest.approx([100, 50, 50])


def test_a_small_detection_of_another_class_takes_a_match():
    # Too small for easy, it is ignored there but the object is counted as its: the kit's way.
    found = [car(0, 0.5, height=42), car(0, 0.9, name="Cyclist", height=39)]
    assert cars([car(0, height=42)], found)["bbox"]["R40"] == pytest.approx([0, 100, 100])


def test_a_second_detection_of_one_object_is_a_mistake():
    assert cars([car(0)], [car(0), car(0)])["3d"]["R40"] == pytest.approx([50, 50, 50])


def test_names_match_in_any_case():
    result = cars([car(0, name="car")], [car(0, name="CAR")])
    assert result["3d"]["R40"] == pytest.approx(PERFECT)


def test_nothing_found_and_nothing_to_find():
    nothing = {"R11": [0.0] * 3, "R40": [0.0] * 3}
    for result in (cars([car(0)], []), cars([], [car(0)]), cars([], [])):
        assert result == dict.fromkeys(METRICS, nothing)


def test_a_missing_frame_is_no_detections_and_a_foreign_one_is_left_out():
    truth, found = many_frames([car(0)], 100), many_frames([car(0)], 100)
    for frame in list(found)[50:]:
        del found[frame]
    half = evaluate(truth, found, ["Car"])["car"]["3d"]["R40"]
    assert half == pytest.approx([50] * 3, abs=2.5)
    found["foreign"] = objects(car(9))
    assert evaluate(truth, found, ["Car"])["car"]["3d"]["R40"] == half


def test_wrong_arguments():
    with pytest.raises(DataError, match="no frames"):
        evaluate({}, {})
    with pytest.raises(UsageError, match="Tram.*car, pedestrian, cyclist"):
        evaluate(many_frames([car(0)]), {}, ["Tram"])


# A slow reference: the kit's procedure, frame by frame and threshold by threshold.

RULES = {"easy": (40, 0, 0.15), "moderate": (25, 1, 0.3), "hard": (25, 2, 0.5)}
LEAST = {"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5}
LIKE = {"Car": "Van", "Pedestrian": "Person_sitting"}


def image_iou(a, b, part=False):
    size = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = np.prod(size) if (size > 0).all() else 0.0
    area_a, area_b = np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2])
    return shared / (area_b if part else area_a + area_b - shared)


def space_iou(t, i, d, j, metric):
    def ground(o, k):
        x, _, z = o.location[k]
        return [[x, z, o.hwl[k, 2], o.hwl[k, 1], -o.rotation_y[k]]]

    iou = bev_iou(ground(t, i), ground(d, j))[0, 0]
    if metric == "bev":
        return iou
    areas = t.hwl[i, 1] * t.hwl[i, 2], d.hwl[j, 1] * d.hwl[j, 2]
    low, high = (
        min(t.location[i, 1], d.location[j, 1]),
        max(t.location[i, 1] - t.hwl[i, 0], d.location[j, 1] - d.hwl[j, 0]),
    )
    volume = iou / (1 + iou) * sum(areas) * max(0, low - high)
    return volume / (areas[0] * t.hwl[i, 0] + areas[1] * d.hwl[j, 0] - volume)


class SlowFrame:
    def __init__(self, truth, found, name, metric, difficulty):
        height, occluded, truncated = RULES[difficulty]
        self.t, self.d, self.least, self.metric = truth, found, LEAST[name], metric
        self.t_flag = []
        for i, n in enumerate(truth.names):
            hard = truth.occluded[i] > occluded or truth.truncated[i] > truncated
            hard = hard or truth.bbox[i, 3] - truth.bbox[i, 1] <= height
            own = 1 if hard else 0
            self.t_flag.append(own if n == name else 1 if n == LIKE.get(name) else -1)
        small = np.abs(found.bbox[:, 3] - found.bbox[:, 1]) < height
        self.d_flag = np.where(small, 1, np.where(found.names == name, 0, -1))

    def iou(self, i, j):
        if self.metric == "bbox":
            return image_iou(self.t.bbox[i], self.d.bbox[j])
        return space_iou(self.t, i, self.d, j, self.metric)

    def scores(self):
        taken, scores = set(), []
        for i in np.flatnonzero(np.array(self.t_flag) >= 0):
            rivals = [
                j for j in np.flatnonzero(self.d_flag >= 0)
                if j not in taken and self.iou(i, j) > self.least
            ]  # fmt: skip
            if rivals:
                best = max(rivals, key=lambda j: (self.d.score[j], -j))
                taken.add(best)
                if self.t_flag[i] == 0 and self.d_flag[best] == 0:
                    scores.append(self.d.score[best])
        return scores

    def counts(self, threshold):
        above = [j for j in range(len(self.d)) if self.d.score[j] >= threshold]
        taken, tp, similarity = set(), 0, 0.0
        for i in np.flatnonzero(np.array(self.t_flag) >= 0):
            rivals = [j for j in above if j not in taken and self.iou(i, j) > self.least]
            counted = [j for j in rivals if self.d_flag[j] == 0]
            ignored = [j for j in rivals if self.d_flag[j] == 1]
            if counted:
                best = max(counted, key=lambda j: (self.iou(i, j), -j))
            elif ignored:
                best = ignored[0]
            else:
                continue
            taken.add(best)
            if self.t_flag[i] == 0 and self.d_flag[best] == 0:
                tp += 1
                similarity += (1 + np.cos(self.t.alpha[i] - self.d.alpha[best])) / 2
        wrong = [j for j in above if j not in taken and self.d_flag[j] == 0]
        if self.metric == "bbox":
            stuff = self.t.bbox[self.t.names == "DontCare"]
            wrong = [
                j for j in wrong
                if not any(image_iou(s, self.d.bbox[j], part=True) > self.least for s in stuff)
            ]  # fmt: skip
        return np.array([tp, len(wrong), similarity])


def slow_curve(truth, found, name, metric, difficulty):
    frames = [SlowFrame(truth[f], found[f], name, metric, difficulty) for f in truth]
    scores = sorted((s for f in frames for s in f.scores()), reverse=True)
    positives = sum(f.t_flag.count(0) for f in frames)
    curves, recall = np.zeros((2, 41)), 0.0
    sample = 0
    for rank, score in enumerate(scores):
        left, right = (rank + 1) / positives, (rank + 2) / positives
        if rank < len(scores) - 1 and right - recall < recall - left:
            continue
        tp, fp, similarity = sum(f.counts(score) for f in frames)
        if tp + fp:
            curves[:, sample] = tp / (tp + fp), similarity / (tp + fp)
        sample, recall = sample + 1, recall + 1 / 40
    return 100 * np.maximum.accumulate(curves[:, ::-1], axis=1)[:, ::-1]


def random_frames(seed, count):
    """Crowded frames with detections near objects, of wrong classes, small, and of equal score."""
    rng = np.random.default_rng(seed)
    names = ["Car", "Van", "Pedestrian", "Person_sitting", "Cyclist", "Truck", "DontCare"]
    truth, found = {}, {}
    for frame in range(count):
        n = rng.integers(0, 7)
        size = np.column_stack([rng.uniform(30, 90, n), rng.uniform(20, 60, n)])
        corner = rng.uniform(0, 120, (n, 2))
        table = np.column_stack([
            rng.choice([0, 0, 0.2, 0.6], n), rng.integers(0, 4, n), rng.uniform(-3, 3, n),
            corner, corner + size, rng.normal((1.6, 1.7, 4), 0.1, (n, 3)),
            rng.normal((0, 1.7, 20), (3, 0.1, 3), (n, 3)), rng.uniform(-3, 3, n), np.ones(n),
        ])  # fmt: skip
        label = rng.choice(names, n, p=[0.4, 0.1, 0.15, 0.05, 0.15, 0.05, 0.1])
        again = np.repeat(np.arange(n), rng.integers(0, 4, n))
        near = table[again].copy()
        near[:, 2:7] += rng.normal(0, 3, (len(again), 5))
        near[:, 7:14] += rng.normal(0, 0.07, (len(again), 7))
        near[:, 14] = rng.integers(0, 12, len(again)) / 12
        named = np.where(rng.random(len(again)) < 0.8, label[again], rng.choice(names, len(again)))
        shuffled = rng.permutation(len(again))
        truth[str(frame)] = kitti_labels.from_table(label, table)
        found[str(frame)] = kitti_labels.from_table(named[shuffled], near[shuffled])
    return truth, found


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_the_slow_reference(seed):
    truth, found = random_frames(seed, 12)
    curves = match(truth, found).curves()
    assert curves[:, :, 1:, 0].max() > 30  # the comparison is about something
    for c, name in enumerate(LEAST):
        for d, difficulty in enumerate(RULES):
            for metric in ("bbox", "bev", "3d"):
                expected = slow_curve(truth, found, name, metric, difficulty)
                m = METRICS.index(metric)
                np.testing.assert_allclose(curves[c, m, d], expected[0], err_msg=f"{name} {metric}")
                if metric == "bbox":
                    aos = curves[c, METRICS.index("aos"), d]
                    np.testing.assert_allclose(aos, expected[1], atol=1e-9)


def test_weights_are_copies_of_frames():
    truth, found = random_frames(7, 20)
    weights = np.random.default_rng(1).multinomial(20, np.full(20, 1 / 20))
    copies = [(f, f"{f} again {k}") for f, w in zip(truth, weights, strict=True) for k in range(w)]
    resample = match({c: truth[f] for f, c in copies}, {c: found[f] for f, c in copies})
    by_weight = match(truth, found).average_precision(weights)
    np.testing.assert_allclose(by_weight, resample.average_precision())
    assert np.abs(by_weight - match(truth, found).average_precision()).max() > 0.1


def test_labels_against_themselves_are_perfect():
    truth, _ = random_frames(8, 60)
    # No two of one frame coincide, so each is its own best match.
    result = evaluate(truth, truth, fill_recall=True)
    for metrics in result.values():
        for metric in METRICS:
            assert metrics[metric]["R40"] == pytest.approx(PERFECT)
            assert metrics[metric]["R11"] == pytest.approx(PERFECT)


# The kit's own numbers, on real frames.


@pytest.fixture(scope="module")
def labels(shared):
    frames = (shared / "kitti_labels/ImageSets/val.txt").read_text().split()
    return {f: kitti_labels.read(shared / f"kitti_labels/label_2/{f}.txt") for f in frames}


@pytest.mark.parametrize("case", ["point_gnn_car", "noise_3class"])
def test_golden(shared, labels, case):
    folder = shared / "golden/evaluator"
    expected = json.loads((folder / "expected.json").read_text())[case]
    found = {f: kitti_labels.read(folder / case / f"data/{f}.txt", scored=True) for f in labels}
    result = evaluate(labels, found)
    for name, metrics in expected.items():
        for metric, values in metrics.items():
            for recall, ap in values.items():
                assert result[name][metric][recall] == pytest.approx(ap, abs=1e-3)
    # With this many ground truths the kit's sampling loses nothing.
    filled = evaluate(labels, found, fill_recall=True)
    for name in expected:
        assert filled[name]["3d"]["R40"] == pytest.approx(result[name]["3d"]["R40"], abs=1e-9)


def test_real_labels_against_themselves_are_perfect(labels):
    result = evaluate(labels, labels)
    for name, metrics in result.items():
        for metric in ("bbox", "bev", "3d"):
            assert metrics[metric]["R40"] == pytest.approx(PERFECT, abs=1e-9), (name, metric)
            assert metrics[metric]["R11"] == pytest.approx(PERFECT, abs=1e-9), (name, metric)


def test_evaluation_does_without_torch():
    code = "import sys, kdbench.cli.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
