"""What reports say beyond mAP, and that they say the same in every form."""

from dataclasses import replace

import pytest

from kdbench.leaderboard.bands import band_columns
from kdbench.leaderboard.columns import BEHAVIOUR, COLUMNS
from kdbench.leaderboard.latex import latex
from kdbench.leaderboard.page import Sources, page
from kdbench.leaderboard.reliability import diagrams
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.tables import markdown, write_tables

BANDS = {"range": ["0-20 m", "20-40 m"], "points": ["0-50 pt"]}


def with_behaviour(made: dict, level: float, agrees: bool = True) -> dict:
    """The record with AP by band around `level`, and agreement and errors to match."""
    bins = {"count": [0] * 5 + [4] + [0] * 4, "right": [0] * 5 + [3] + [0] * 4,
            "score": [None] * 5 + [0.6] + [None] * 4}  # fmt: skip
    ap = {"car": [level, level, None], "mean": [level + 10, level, None]}
    made["metrics"] |= {
        "breakdown": {"bands": BANDS, "objects": {"car": [30, 30, 3]}, "bev": ap, "3d": ap},
        "agreement": {"f1": level / 100, "recall": 0.5, "precision": 0.6, "iou": 0.8,
                      "pearson": None, "spearman": 0.7} if agrees else None,
        "calibration": {m: {"error": {"car": 0.15, "mean": 0.15}, "bins": {"car": bins}}
                        for m in ("bev", "3d")},
    }  # fmt: skip
    return made


@pytest.fixture
def told(records):
    """`records` with all there is beyond mAP."""
    levels = [60, 40, 50, 45, 40, 30]
    return [with_behaviour(r, x, agrees=x != 60) for r, x in zip(records, levels, strict=True)]


def row_of(rows, label):
    (row,) = [r for r in rows if r["label"] == label]
    return row


def test_bands_have_gains_over_none(told):
    best = row_of(leaderboard(told), "best")
    assert (best["bev_range_0_20_m"], best["bev_range_0_20_m_gain"]) == (60, 10)
    assert best["3d_range_20_40_m_gain"] == 10
    assert best["bev_points_0_50_pt"] is best["bev_points_0_50_pt_gain"] is None


def test_means_over_seeds(record, student):
    seeds = []
    for seed, level in ((0, 40), (1, 50)):
        for method, more in (("none", 0), ("x", 4)):
            spec = replace(student(method), seed=seed)
            seeds.append(with_behaviour(record(spec, 40.0), level + more * (seed + 1)))
    row = row_of(leaderboard(seeds), "x")
    assert row["agreement_f1"] == pytest.approx((0.44 + 0.58) / 2)
    assert row["bev_range_20_40_m_gain"] == pytest.approx((4 + 8) / 2)
    assert row["reliability"]["bev"]["count"][5] == 8


def test_the_worst_class_is_the_one_that_gains_least(records):
    kitti = records[2]["metrics"]["kitti"]
    kitti["cyclist"]["bev"]["R40"] = [0.0, 33.0, 0.0]
    row = row_of(leaderboard(records), "best")
    assert (row["bev_worst_gain"], row["bev_worst_class"]) == (-7, "cyclist")
    assert COLUMNS["worst"].show(row) == "-7.0 cyclist"
    assert COLUMNS["worst"].show(row_of(leaderboard(records), "none")) == "-"


def test_training_is_paid_with_and_without_the_teacher(record, student):
    plain = student("none")
    runs = [
        record(student("kd").teacher_run(), 60.0),
        record(plain, 40.0),
        record(student("kd"), 50.0),
    ]
    runs[0]["training"]["seconds_per_step"] = 0.3
    runs[2]["training"]["seconds_per_step"] = 0.2
    runs[2]["teacher"] = runs[0]["hash"]
    row = row_of(leaderboard(runs), "kd")
    assert row["training_against_none"] == pytest.approx(2)
    spent = 2 + 3 * student("kd").teacher.steps / plain.train.steps
    assert row["training_with_teacher"] == pytest.approx(spent)
    assert row_of(leaderboard(runs), "none")["training_with_teacher"] == pytest.approx(1)
    alone = row_of(leaderboard(runs[1:]), "kd")
    assert alone["training_against_none"] == pytest.approx(2)
    assert alone["training_with_teacher"] is None


def test_accuracy_by_millisecond(records):
    assert row_of(leaderboard(records), "best")["map_per_ms"] == pytest.approx(5)


def test_every_form_says_the_same(told, tmp_path):
    rows = leaderboard(told)
    text, html, tex = markdown(rows), page(rows, Sources()), latex(rows)
    assert "| best | 60.0 +10.0 | 50.0 +10.0 |" in text
    assert "60.0 <span>+10.0</span>" in html
    assert r"best & $60.0$ $+10.0$ & $50.0$ $+10.0$ \\" in tex
    _, sheet = write_tables(rows, tmp_path)
    header, *lines = (line.split(",") for line in sheet.read_text().splitlines())
    best = next(x for x in lines if "best" in x)
    assert best[header.index("bev_range_0_20_m_gain")] == "10.0"
    for column in BEHAVIOUR:
        assert column in text and f">{column}<" in html
    assert "| best | +10.0 car | +5.0 car | 50.0 | 50.0 | 0.800 | 0.700 | - | 15.0 | 15.0 |" in text


def test_a_band_of_too_few_objects_has_no_column(told):
    rows = leaderboard(told)
    assert list(band_columns(rows, "bev")) == ["method", "0-20 m", "20-40 m"]


def test_older_records_have_none_of_it(records):
    rows = leaderboard(records)
    assert band_columns(rows, "bev") == {}
    text, html = markdown(rows), page(rows, Sources())
    assert "by band\n" not in text and "Reliability of" not in html
    assert "| best | +10.0 car | +5.0 car | - | - | - | - | - | - | - |" in text


def test_reliability_of_teacher_none_and_the_best(told):
    drawings = diagrams(leaderboard(told), "bev")
    names = ["teacher", "none", "best"]
    assert [f">{n}: D-ECE 15.0 %<" in d for n, d in zip(names, drawings, strict=True)] == [True] * 3
    assert all(d.count("<circle") == 1 for d in drawings)
