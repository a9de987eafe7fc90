"""The fitted numbers and what is drawn from them."""

import numpy as np
import pytest

from kdbench.datasets.synthetic import actors
from kdbench.datasets.synthetic.fit_statistics import fit
from kdbench.datasets.synthetic.footprint import overlaps
from kdbench.datasets.synthetic.frame import simulate
from kdbench.datasets.synthetic.street import lay_out

LABEL = "Car 0.00 0 0.00 600 170 650 200 1.50 1.70 4.00 {x} 1.70 {z} -1.5708\n"


def test_fit_counts_sizes_places_and_headings(tmp_path):
    (tmp_path / "000000.txt").write_text(
        LABEL.format(x=-3.0, z=20.0) + LABEL.format(x=3.0, z=12.0)
        + "DontCare -1 -1 -10 0 0 9 9 -1 -1 -1 -1000 -1000 -1000 -10\n"
    )  # fmt: skip
    (tmp_path / "000001.txt").write_text(LABEL.format(x=0.5, z=41.0))
    fitted = fit(tmp_path)
    car = fitted["classes"]["Car"]
    assert fitted["frames"] == 2 and car["counts"] == [0, 1, 1]
    assert np.allclose(np.exp(car["log_size_mean"]), [4.0, 1.7, 1.5], rtol=1e-3)
    places = np.array(car["places"])
    assert places.sum() == 3 and places[4, 10] == 1  # 20.2 m, 8.5 degrees to the left
    headings = np.array(car["headings"])
    assert headings[3, 0] == headings[1, 0] == headings[2, 0] == 1  # left, right, own lane: ahead


def test_stored_numbers_are_those_of_the_labels(shared):
    import json
    from pathlib import Path

    stored = json.loads(Path(actors.__file__).with_name("statistics.json").read_text())
    assert stored == json.loads(json.dumps(fit(shared / "kitti_labels" / "label_2")))


def test_drawn_objects_follow_the_numbers():
    drawn = [a for k in range(150) for a in lay_out(np.random.default_rng([9, k])).actors]
    cars = np.array([a.box for a in drawn if a.name == "Car"])
    numbers = actors.statistics()["Car"]
    assert np.allclose(np.log(cars[:, 3:6]).mean(axis=0), numbers.log_size, atol=0.02)
    mean = numbers.counts @ np.arange(len(numbers.counts)) * actors.RATE["Car"]
    assert 0.75 * mean < len(cars) / 150 < 1.1 * mean  # some find no free place
    along = np.abs(np.cos(cars[:, 6])) > np.cos(np.radians(20))
    assert along.mean() > 0.6  # most go along the street


def test_actors_do_not_overlap():
    for k in range(20):
        present = lay_out(np.random.default_rng([8, k])).actors
        footprints = np.array([a.box[[0, 1, 3, 4, 6]] for a in present]).reshape(-1, 5)
        for i in range(1, len(footprints)):
            assert not overlaps(footprints[i], footprints[:i]).any()


def test_overlaps_agrees_with_polygons():
    from shapely.geometry import Polygon

    from kdbench.datasets.synthetic.footprint import corners

    rng = np.random.default_rng(0)
    some = np.column_stack(
        [rng.uniform(-4, 4, (80, 2)), rng.uniform(0.3, 5, (80, 2)), rng.uniform(-3, 3, 80)]
    )
    shapes = [Polygon(c) for c in corners(some)]
    for i in range(20):
        exact = [shapes[i].intersects(other) for other in shapes]
        assert overlaps(some[i], some).tolist() == exact


@pytest.mark.slow
def test_the_default_val_split_can_be_scored():
    names = np.concatenate([simulate(0, 500_000 + k).objects.names for k in range(150)])
    assert (names == "Car").sum() > 400
    assert (names == "Pedestrian").sum() >= 150
    assert (names == "Cyclist").sum() >= 100
