"""What papers report, beside what a table measured."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from kdbench.leaderboard.claims import verdict
from kdbench.leaderboard.claims_view import claims_plot
from kdbench.leaderboard.gains import Gain
from kdbench.leaderboard.page import Sources, page
from kdbench.leaderboard.reported import MAPS, reported
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.tables import markdown


def gain(value, error):
    return Gain(value, error, freedom=float("inf"), of_frames=0.0)


@pytest.mark.parametrize(
    ("found", "corrected", "word"),
    [
        (gain(3.0, 0.5), 0.001, "confirmed"),
        (gain(2.0, 0.5), 0.001, "confirmed"),  # to 2.98
        (gain(1.5, 0.3), 0.001, "smaller"),  # to 2.1
        (gain(1.5, 0.3), 0.2, "not of that size"),  # one of many looks
        (gain(0.5, 0.5), 0.3, "not of that size"),
        (gain(-4.0, 0.5), 0.001, "not of that size"),
        (gain(2.0, 2.0), 0.3, "cannot be told"),
        (gain(9.0, 5.0), 0.07, "cannot be told"),
    ],
)
def test_the_four_verdicts(found, corrected, word):
    assert verdict(found, corrected, claimed=2.8) == word


def test_what_the_abstract_claims_follows_from_the_tables():
    found = {(r.method, r.over, r.metric): r.gain for r in reported("pointpillars", 4.0)}
    assert found["pointdistiller", "none", "bev"] == 2.8
    assert found["pointdistiller", "none", "3d"] == 3.4
    assert found["pointdistiller", "teacher", "bev"] == 0.9
    assert found["pointdistiller", "teacher", "3d"] == 1.8
    rivals = set(MAPS["pointpillars", 4.0]) - {"none", "teacher", "pointdistiller"}
    assert len(rivals) == 7
    assert all(found["pointdistiller", rival, "bev"] >= 1.5 for rival in rivals)
    assert ("crd", "none", "3d") not in found  # reported as no gain
    assert list(reported("centerpoint", 4.0)) == []


@pytest.fixture
def records(record, student):
    """Six seeds of each row; the teacher stands at 60."""
    figures = {"none": 40.0, "pointdistiller": 43.0, "fitnet": 40.2, "own": 45.0}
    made = [
        record(replace(student(name), seed=seed), bev + 0.2 * (seed % 3))
        for name, bev in figures.items()
        for seed in range(6)
    ]
    return [*made, record(student("kd").teacher_run(), 60.0)]


def test_a_table_tells_what_becomes_of_the_claims_about_it(records):
    row = leaderboard(records)[0]
    found = {(c["method"], c["over"], c["metric"]): c for c in row["table"]["claims"]}
    assert {method for method, *_ in found} == {"pointdistiller", "fitnet"}
    own = found["pointdistiller", "none", "bev"]
    assert own["value"] == pytest.approx(3) and own["low"] < 3 < own["high"]
    assert (own["reported"], own["verdict"]) == (2.8, "confirmed")
    behind = found["pointdistiller", "teacher", "bev"]
    assert behind["value"] == pytest.approx(43.2 - 60)
    assert behind["low"] < behind["value"] < behind["high"] < 0
    assert behind["claim"] == "pointdistiller over its teacher"
    assert behind["verdict"] == "not of that size"
    assert found["pointdistiller", "fitnet", "bev"]["value"] == pytest.approx(2.8)
    assert ("fitnet", "pointdistiller", "bev") not in found


def test_one_seed_decides_nothing(record, student):
    rows = leaderboard([record(student(name), 40.0) for name in ("none", "pointdistiller")])
    assert rows[0]["table"]["claims"] == []


def test_tables_and_page_show_them(records):
    rows = leaderboard(records)
    assert "| pointdistiller over none | BEV | +2.8 | +3.0 |" in markdown(rows)
    shown = page(rows, Sources())
    assert "Reported and measured" in shown and "pointdistiller over its teacher" in shown
    plot = claims_plot(rows[0]["table"]["claims"])
    assert plot.count("<circle") == 4 - 1  # fitnet's gain in space is reported as none
    nothing = leaderboard([r for r in records if r["spec"]["method"]["name"] in ("none", "own")])
    assert "### Reported and measured" not in markdown(nothing)
    assert claims_plot([]) == ""


def test_names_in_the_plot_end_inside(records):
    claims = leaderboard(records)[0]["table"]["claims"]
    drawing = ElementTree.fromstring(str(claims_plot(claims)))
    width = float(drawing.get("viewBox").split()[2])
    names = [text for text in drawing.iter("text") if "name" in text.get("class")]
    assert names
    for name in names:
        x, long = float(name.get("x")), 6.3 * len(name.text)
        assert x - long > 0 if "end" in name.get("class") else x + long < width
