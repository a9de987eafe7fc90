import itertools
import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.leaderboard import svg
from kdbench.leaderboard.curves import read_log, smooth, training_curves
from kdbench.leaderboard.plots import curve_plot, gain_keys, gain_scale, whisker
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.scatter import LATENCY, PARAMETERS, pareto, scatter

numbers = st.floats(-1e6, 1e6)
# Few values, so that there are ties.
points = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12)


@given(numbers, st.floats(1e-3, 1e6))
def test_ticks_are_round_and_inside(low, width):
    high = low + width
    found = svg.ticks(low, high)
    steps = np.diff(found)
    slack = 1e-6 * max(abs(low), abs(high), 1)
    assert 2 <= len(found) <= 7
    assert low - slack <= found[0] and found[-1] <= high + slack
    assert np.allclose(steps, steps[0], atol=slack)


@given(st.floats(1e-3, 1e3), st.floats(1.2, 1e4))
def test_ticks_of_a_logarithm_are_inside(low, factor):
    found = svg.log_ticks(low, low * factor)
    assert len(found) >= 2
    assert all(low * 0.999 <= value <= low * factor * 1.001 for value in found)


@given(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=9), st.booleans())
def test_a_scale_keeps_the_order_and_stays_on_the_canvas(values, log):
    scale = svg.scale_of(values, 10, 200, log)
    pixels = [scale(v) for v in sorted(values)]
    assert pixels == sorted(pixels)
    assert pixels[0] >= 10 and pixels[-1] <= 200


@given(points)
def test_the_front_is_what_nothing_beats(found):
    def beaten(a):
        return any(b[0] <= a[0] and b[1] >= a[1] and b != a for b in found)

    front = [found[i] for i in pareto(found)]
    assert sorted(front) == sorted({p for p in found if not beaten(p)})
    assert front == sorted(front)


def test_smoothing_is_a_mean_over_what_lies_around():
    rng = np.random.default_rng(0)
    values = rng.normal(size=61)
    found = smooth(values, share=0.2)
    for i in range(61):
        reach = min(6, i, 60 - i)
        assert found[i] == pytest.approx(values[i - reach : i + reach + 1].mean())
    line = np.linspace(3, -1, 40)
    assert np.allclose(smooth(line), line)
    assert len(smooth(np.zeros(0))) == 0


# Training curves.


def write_log(folder, run: str, entries: list[dict], torn: str = "") -> None:
    text = "".join(json.dumps(entry) + "\n" for entry in entries) + torn
    (folder / f"{run}.jsonl").write_text(text)


@pytest.fixture
def logs(records, tmp_path):
    """Logs of all runs, in which the detection loss falls from 3 and all else is 100."""
    for made in records:
        noise = {"kd.x": 100.0, "spread": 100.0} if made["spec"]["method"]["name"] != "none" else {}
        entries = [
            {"step": 10 * i, "cls": 2 - 0.1 * i, "box": 1.0, "lr": 100.0, "grad_norm": 100.0}
            | noise
            for i in range(10)
        ]
        write_log(tmp_path, made["hash"], entries, torn='{"step": 100, "cls": 1')
    return lambda run: tmp_path / f"{run}.jsonl"


def test_curves_add_up_the_detectors_own_losses(records, logs):
    rows = leaderboard(records)
    curves = training_curves(rows, logs)
    shown = {rows[c.row]["label"] for c in curves}
    assert shown == {"teacher", "none", "best", "good", "level", "bad"}
    for curve in curves:
        assert curve.steps.tolist() == list(range(0, 100, 10))
        assert np.allclose(curve.losses, np.linspace(3, 2.1, 10))


def test_only_some_methods_get_a_curve(records, logs, record, student):
    more = [record(student(f"m{i}"), 41.0 + i / 10) for i in range(9)]
    rows = leaderboard([*records, *more])
    shown = {rows[c.row]["label"] for c in training_curves(rows, logs)}
    assert shown == {"teacher", "none", "best", "good", "bad"}  # m8 is third, but has no log


def test_no_curves_without_the_log_of_an_undistilled_run(records, tmp_path, logs):
    rows = leaderboard(records)
    for run in (r["hash"] for r in records[:2]):
        (tmp_path / f"{run}.jsonl").unlink()
    assert training_curves(rows, logs) == []
    assert curve_plot([], rows) == ""
    assert read_log(tmp_path / "absent") == []


# Whiskers and dots.


def shapes(drawing: str, kind: str) -> list[str]:
    return re.findall(rf"<{kind}[^>]*>", drawing)


def test_a_gain_within_noise_is_hollow(records):
    rows = {row["label"]: row for row in leaderboard(records)}
    keys = gain_keys(rows.values(), "bev")
    assert list(keys) == ["mAP", "car", "pedestrian", "cyclist"]
    scale = gain_scale(rows.values(), keys.values())
    found = {
        name: re.search(r'class="dot (\w+)"', whisker(row, "bev_gain", scale))
        for name, row in rows.items()
    }
    assert found.pop("teacher") is found.pop("none") is None
    assert {name: match[1] for name, match in found.items()} == {
        "best": "better", "good": "better", "level": "noise", "bad": "worse",
    }  # fmt: skip
    assert 'class="dot noise"' in whisker(rows["level"], "bev_car_gain", scale)
    assert 'class="dot better"' in whisker(rows["best"], "bev_car_gain", scale)


def test_a_gain_without_an_interval_has_no_arm(record, student):
    records = [record(student("none"), 40.0, frames=False)]
    rows = leaderboard([*records, record(student("x"), 45.0, frames=False)])
    drawing = whisker(rows[-1], "bev_gain", gain_scale(rows, ["bev_gain"]))
    assert shapes(drawing, "circle") and 'class="arm"' not in drawing
    assert list(gain_keys(rows, "bev")) == ["mAP"]


def test_every_row_has_its_mark(records, record, student):
    rows = leaderboard(records)
    wide = leaderboard([record(student("none", ratio=2.0), 50.0)])
    drawing = scatter(rows, wide, "bev", PARAMETERS)
    assert len(shapes(drawing, "circle")) == 4
    assert len(shapes(drawing, "rect")) == 3  # the teacher, and `none` at two ratios
    assert sorted(re.findall(r'data-row="(\d)"', drawing)) == list("012345")
    assert ">none x2<" in drawing and ">none x4<" in drawing and "nan" not in drawing


def test_names_in_a_plot_do_not_overlap(records):
    drawing = scatter(leaderboard(records), [], "bev", LATENCY)
    found = re.findall(r'x="([\d.]+)" y="([\d.]+)" class="name">([^<]*)', drawing)
    boxes = [(float(x), float(y), 6 * len(text)) for x, y, text in found]
    assert len(boxes) >= 2
    for (x, y, w), (u, v, z) in itertools.combinations(boxes, 2):
        assert x + w <= u or u + z <= x or abs(y - v) >= 12


def test_a_disturbed_latency_is_hollow(record, student):
    rows = leaderboard([record(student("x"), 40.0, contention=0.9), record(student("y"), 41.0)])
    assert scatter(rows, [], "bev", LATENCY).count("shaky") == 1
    assert "shaky" not in scatter(rows, [], "bev", PARAMETERS)


def test_a_plot_of_nothing_is_empty(record, student):
    rows = leaderboard([record(student("x"), float("nan"))])
    assert scatter(rows, [], "bev", LATENCY) == ""
