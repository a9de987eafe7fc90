"""AP by band: against KITTI's AP with the other objects ignored, a slow reference, closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.evaluation.bands import BANDS, Band, traits
from kdbench.evaluation.breakdown import breakdown
from kdbench.evaluation.kitti_ap import evaluate
from kdbench.geometry.boxes import boxes_lidar_to_camera
from kdbench.geometry.calibration import Calibration
from kdbench.geometry.kitti_labels import empty, from_table

NAMES = ("Car", "Pedestrian", "Cyclist")
LENGTH = 4.0
ALL = {"range": (Band("all", -np.inf),)}
NEAR, FAR = Band("near", 0, 20), Band("far", 20)
seeds = settings(max_examples=25)(given(st.integers(0, 10**6)))


def box(place, score=1.0, name="Car", occluded=0, shift=0.0):
    """One object row; those of different places do not overlap, a shift is along their length."""
    space = (1.5, 1.6, LENGTH, 10.0 * place + shift, 1.7, 20.0, 0.0)
    return name, (0.0, occluded, 0.5, 100.0, 100.0, 180.0, 160.0, *space, score)


def objects(rows):
    return from_table([r[0] for r in rows], np.array([r[1] for r in rows])) if rows else empty()


def overlap(a, b):
    """IoU of two boxes of one length, from above and in space alike."""
    apart = min(LENGTH, abs(a.location[0, 0] - b.location[0, 0]))
    return (LENGTH - apart) / (LENGTH + apart)


def scene(seed, frames=6):
    """Random frames: truth, detections, and traits of both with no regard to the geometry."""
    rng = np.random.default_rng(seed)
    truth, found, of_truth, of_found = {}, {}, {}, {}
    for frame in map(str, range(frames)):
        places = rng.permutation(6)[: rng.integers(1, 5)]
        rows = [box(p, name=rng.choice(NAMES), occluded=rng.integers(0, 4)) for p in places]
        near = [
            box(rng.integers(0, 6), rng.choice([0.2, 0.4, 0.5, 0.7, 0.9]),
                rng.choice(NAMES, p=[0.6, 0.2, 0.2]), shift=rng.uniform(-0.9, 0.9))
            for _ in range(rng.integers(0, 9))
        ]  # fmt: skip
        truth[frame], found[frame] = objects(rows), objects(near)
        of_truth[frame] = {
            "range": rng.uniform(0, 40, len(rows)), "points": rng.integers(0, 300, len(rows)),
            "occlusion": truth[frame].occluded,
        }  # fmt: skip
        of_found[frame] = {"range": rng.uniform(0, 40, len(near))}
    return truth, found, of_truth, of_found


def only(truth, keep):
    """The truth with what is not kept beyond any difficulty."""
    return {i: replace(o, occluded=np.where(keep[i], o.occluded, 3)) for i, o in truth.items()}


def moderate(truth, found, fill_recall=False):
    """KITTI's AP by class and metric."""
    whole = evaluate(truth, found, NAMES, fill_recall=fill_recall)
    return {n: {m: whole[n][m]["R40"][1] for m in ("bev", "3d")} for n in whole}


@seeds
@pytest.mark.parametrize("fill_recall", [False, True])
def test_one_band_of_everything_is_plain_ap(fill_recall, seed):
    args = scene(seed)
    result = breakdown(*args, NAMES, ALL, 1, fill_recall)
    for name, plain in moderate(*args[:2], fill_recall).items():
        for metric, ap in plain.items():
            assert result[metric][name] == [ap if result["objects"][name][0] else None]


@seeds
def test_a_band_of_points_is_ap_with_the_other_objects_ignored(seed):
    truth, found, of_truth, of_found = scene(seed)
    band = Band("some", 51, 201)
    result = breakdown(truth, found, of_truth, of_found, NAMES, {"points": (band,)}, 1)
    kept = only(truth, {i: band.holds(t["points"]) for i, t in of_truth.items()})
    for name, expected in moderate(kept, found).items():
        (ap,) = result["bev"][name]
        assert ap is None or ap == expected["bev"]
        counted = sum(((o.occluded <= 1) & (np.char.lower(o.names) == name)).sum()
                      for o in kept.values())  # fmt: skip
        assert result["objects"][name] == [counted]


@seeds
def test_levels_of_occlusion_are_counted_beyond_moderate(seed):
    args = scene(seed)
    result = breakdown(*args, NAMES, {"occlusion": BANDS["occlusion"]}, 1)
    for level in range(3):
        kept = {i: replace(o, occluded=np.where(o.occluded == level, 0, 3))
                for i, o in args[0].items()}  # fmt: skip
        ap = result["3d"]["car"][level]
        assert ap is None or ap == moderate(kept, args[1])["car"]["3d"]


def slow_ap(truth, found, of_truth, of_found, band):
    """AP of cars from above in a band of range, frame by frame and threshold by threshold."""
    frames = []
    for i in truth:
        cars = [(k, band.holds(of_truth[i]["range"][k]) and truth[i].occluded[k] <= 1)
                for k in range(len(truth[i])) if truth[i].names[k] == "Car"]  # fmt: skip
        dets = [k for k in range(len(found[i])) if found[i].names[k] == "Car"]
        iou = {(a, b): overlap(truth[i].select([a]), found[i].select([b]))
               for a, _ in cars for b in dets}  # fmt: skip
        frames.append((i, cars, dets, {k: v for k, v in iou.items() if v > 0.7}))
    hits, counted = [], sum(c for _, cars, _, _ in frames for _, c in cars)
    for i, cars, dets, iou in frames:
        free = list(dets)
        for a, counts in cars:
            close = [b for b in free if (a, b) in iou]
            if close:
                best = max(close, key=lambda b: found[i].score[b])
                free.remove(best)
                hits += [found[i].score[best]] * int(counts)
    curve = [
        slow_precision(frames, found, of_found, band, t) for t in slow_thresholds(hits, counted)
    ]
    curve += [0.0] * (41 - len(curve))
    return 100 * np.mean([max(curve[k:]) for k in range(1, 41)])


def slow_thresholds(hits, counted):
    found, recall = [], 0.0
    for k, score in enumerate(sorted(hits, reverse=True), start=1):
        if k < len(hits) and (k + 1) / counted - recall < recall - k / counted:
            continue
        found.append(score)
        recall += 1 / 40
    return found


def slow_precision(frames, found, of_found, band, threshold):
    right = wrong = 0
    for i, cars, dets, iou in frames:
        free = [b for b in dets if found[i].score[b] >= threshold]
        for a, counts in cars:
            close = [b for b in free if (a, b) in iou]
            if close:
                free.remove(max(close, key=lambda b: iou[a, b]))
                right += counts
        wrong += sum(band.holds(of_found[i]["range"][b]) for b in free)
    return right / (right + wrong) if right + wrong else 0.0


@seeds
def test_bands_of_range_agree_with_a_slow_reference(seed):
    args = scene(seed)
    result = breakdown(*args, NAMES, {"range": (NEAR, FAR)}, 1)
    for band, ap in zip((NEAR, FAR), result["bev"]["car"], strict=True):
        assert ap is None or ap == pytest.approx(slow_ap(*args, band))


def cars(truth, found, of_truth, of_found, bands):
    """AP of 50 copies of one frame, enough that it can reach 100."""
    frames = [str(i) for i in range(50)]
    sides = [dict.fromkeys(frames, x) for x in (objects(truth), objects(found))]
    values = [
        {i: {k: np.array(v) for k, v in own.items()} for i in frames}
        for own in (of_truth, of_found)
    ]
    return breakdown(*sides, *values, ("Car",), bands, 1)["bev"]["car"]


def test_a_false_alarm_counts_in_its_band_of_range_alone():
    truth, found = [box(0), box(1)], [box(0), box(1), box(5)]
    ranges = {"range": [10.0, 30.0]}, {"range": [10.0, 30.0, 30.0]}
    assert cars(truth, found, *ranges, {"range": (NEAR, FAR)}) == pytest.approx([100, 50])


def test_a_detection_across_the_border_is_a_hit():
    ranges = {"range": [19.9]}, {"range": [20.1]}
    assert cars([box(0)], [box(0)], *ranges, {"range": (NEAR, FAR)})[0] == pytest.approx(100)


def test_a_false_alarm_counts_in_every_band_of_points():
    few, many = Band("few", 0, 51), Band("many", 51)
    points, ranges = {"points": [5, 500]}, {"range": [1.0, 1.0, 1.0]}
    found = [box(0), box(1), box(5)]
    ap = cars([box(0), box(1)], found, points, ranges, {"points": (few, many)})
    assert ap == pytest.approx([50, 50])


def test_a_band_of_few_objects_has_no_ap_and_no_part_in_the_mean():
    truth = {"0": objects([box(i, name="Car") for i in range(3)] + [box(5, name="Cyclist")])}
    of_truth, of_found = {"0": {"range": np.full(4, 5.0)}}, {"0": {"range": np.full(4, 5.0)}}
    result = breakdown(truth, truth, of_truth, of_found, NAMES, {"range": (NEAR, FAR)}, 2, True)
    assert result["objects"] == {"car": [3, 0], "pedestrian": [0, 0], "cyclist": [1, 0]}
    assert result["3d"]["cyclist"] == result["3d"]["pedestrian"] == [None, None]
    assert result["3d"]["mean"] == result["3d"]["car"] == [pytest.approx(100), None]
    assert result["bands"] == {"range": ["near", "far"]}


def test_bands_leave_no_gap():
    for trait, bands in BANDS.items():
        for one, after in zip(bands, bands[1:], strict=False):
            assert one.high == after.low
        assert bands[0].low == 0
        assert bands[-1].high == (3 if trait == "occlusion" else np.inf)


def test_traits_are_distance_and_points_inside():
    calibration = Calibration(
        p2=np.array([[700.0, 0, 600, 0], [0, 700, 170, 0], [0, 0, 1, 0]]), r0=np.eye(3),
        velo_to_cam=np.array([[0.0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27]]),
    )  # fmt: skip
    boxes = np.array([[3.0, 4.0, -1, 4, 2, 1.5, 0.3], [30.0, -40, -1, 4, 2, 1.5, 2.0]])
    hwl, location, rotation_y = boxes_lidar_to_camera(boxes, calibration)
    table = np.column_stack([np.zeros((2, 7)), hwl, location, rotation_y])
    points = np.array([[3.0, 4, -1, 0.5], [3.2, 4, -1.2, 0.5], [3, 8, -1, 0.5], [30, -40, -1, 0]])
    found = traits(from_table(["Car", "Car"], table), calibration, points)
    np.testing.assert_allclose(found["range"], [5, 50])
    assert found["points"].tolist() == [2, 1]
    assert set(traits(empty(), calibration)) == {"range"}
