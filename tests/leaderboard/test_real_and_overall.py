"""Gains on real frames, and one order of methods over several tables."""

from dataclasses import replace

import numpy as np
import pytest

from kdbench.evaluation.resample import pack
from kdbench.leaderboard.columns import COLUMNS
from kdbench.leaderboard.overall import overall
from kdbench.leaderboard.page import Sources, page
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.tables import markdown, sections


def on_real_frames(made: dict, bev: float, split="all") -> dict:
    """The record with figures of real frames in which one class is absent."""
    ap = {metric: {"car": bev, "pedestrian": bev, "cyclist": None} for metric in ("bev", "3d")}
    drawn = np.random.default_rng(0).normal(bev, 0.2, (2, 3, 100))
    drawn[:, 2] = np.nan
    found = {
        "fingerprint": "abc", "split": split, "frames": 38, "ap": ap, "bev_map": bev, "3d_map": bev,
        "resamples": pack(drawn, 38, ("car", "pedestrian", "cyclist")),
    }  # fmt: skip
    return made | {"transfer": [found]}


@pytest.fixture
def table(record, student):
    """`none` and methods of three seeds, with mAP here and on real frames."""

    def make(figures: dict) -> list[dict]:
        return [
            on_real_frames(record(replace(student(name), seed=seed), here + seed), there + seed)
            for name, (here, there) in figures.items()
            for seed in range(3)
        ]

    return make


def rows_by_method(records):
    return {row["method"]: row for row in leaderboard(records)}


FIGURES = {"none": (40, 30), "a": (42, 33), "b": (44, 35), "c": (46, 36), "d": (41, 29)}


def test_gains_on_real_frames_have_intervals_of_their_own(table):
    rows = rows_by_method(table(FIGURES))
    assert rows["a"]["real_bev_map"] == 34 and rows["a"]["real_bev_gain"] == 3
    assert rows["a"]["real_bev_gain_low"] < 3 < rows["a"]["real_bev_gain_high"]
    assert rows["none"]["real_bev_gain"] == 0
    assert COLUMNS["real 95 %"].show(rows["a"]) == "+0.7..+5.3"
    assert COLUMNS["real 95 %"].show(rows["none"]) == "-"
    rank = rows["a"]["table"]["real_rank"]["bev"]
    assert rank["value"] == pytest.approx(1) and rank["methods"] == 4
    assert any(
        "Rank correlation of gains here and on real" in n for n in rows["a"]["table"]["notes"]
    )


def test_a_teacher_gains_nothing_over_itself(table, record, student):
    teacher = on_real_frames(record(student("kd").teacher_run(), 70.0), 60.0)
    row = rows_by_method([*table({"none": (40, 30), "kd": (42, 33)}), teacher])["teacher"]
    assert row["real_bev_map"] == 60
    assert row["real_bev_gain"] is row["cost"] is row["bev_worth"] is row["bev_gain"] is None


def test_a_row_that_was_not_scored_on_those_frames_has_no_figure(table):
    records = table(FIGURES)
    del records[-1]["transfer"]
    records[3] = on_real_frames(records[3], 99, split="val")
    rows = rows_by_method(records)
    assert rows["d"]["real_bev_map"] is rows["a"]["real_bev_gain"] is None
    assert rows["b"]["real_bev_gain"] == 5
    assert rows["b"]["table"]["real_rank"]["bev"] is None  # of two methods


def test_a_rank_correlation_of_opposite_orders(table):
    rows = rows_by_method(table({n: (h, 30 - h / 10) for n, (h, _) in FIGURES.items()}))
    rank = rows["a"]["table"]["real_rank"]["bev"]
    assert rank["value"] == pytest.approx(-1) and rank["high"] < 1


def row(label, ap, gain=None, error=0.1):
    return {
        "method": label,
        "label": label,
        "bev_map": ap,
        "bev_gain": gain,
        "bev_gain_error": error,
    }


def made_table(lead, **gains):
    plain = [row("teacher", 50 + lead), row("none", 50.0, 0.0)]
    return [*plain, *(row(name, 50 + gain, gain) for name, gain in gains.items())]


def test_the_order_is_of_mean_shares_of_the_lead():
    tables = [
        made_table(10.0, a=5.2, b=2.0),
        made_table(20.0, a=2.0, b=8.0),
        made_table(2.0, a=9.0),
    ]
    first, second = overall(tables, "bev")
    assert (first["method"], first["tables"]) == ("a", 2)
    assert (first["share"], second["share"]) == (pytest.approx(0.31), pytest.approx(0.3))
    assert first["low"] < 0.15 and first["high"] > 0.45  # which tables there are counts most
    assert first["first"] + second["first"] == pytest.approx(1)


def test_a_method_that_leads_everywhere_is_first():
    tables = [made_table(10.0, a=5.0, b=1.0), made_table(20.0, a=9.0)]
    orders = overall(tables, "bev")
    assert [r["method"] for r in orders] == ["a", "b"] and orders[0]["first"] == 1
    assert orders[1]["tables"] == 1
    assert overall(tables[:1], "bev") == [] == overall([made_table(1.0, a=1.0)] * 3, "bev")


def test_page_and_markdown_show_all_of_it(record, student):
    def of(budget, **means):
        for name, bev in {"none": 40.0 + 5 * budget, **means}.items():
            for seed in range(2):
                spec = student(name, budget=budget)
                yield on_real_frames(record(replace(spec, seed=seed), bev), bev / 2)

    teacher = record(student("kd").teacher_run(), 80.0)
    records = [teacher, *of(1, best=55.0, worst=41.0), *of(2, best=60.0), *of(4)]
    rows = leaderboard(records)
    assert len(sections(rows)) == 3
    for text in (markdown(rows), page(rows, Sources())):
        assert "worth" in text and "real gain" in text and "These are head starts" in text
        assert "All tables together" in text
    assert "Accuracy against training steps" in page(rows, Sources())
