from dataclasses import replace

import numpy as np
import pytest

from kdbench.evaluation.resample import pack
from kdbench.leaderboard.columns import ACCURACY
from kdbench.leaderboard.rows import leaderboard
from kdbench.leaderboard.tables import markdown, rich_tables, sections, write_tables
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import RunSpec


def with_frames(made: dict, noise: float = 1.0) -> dict:
    """The same record with AP over drawn frames; a run's own luck is `noise` wide."""
    ap, seed = made["metrics"]["bev_map"], int(made["hash"], 16) % 2**32
    luck = np.random.default_rng(seed).normal(0, noise, (2, 1, 300))
    centre = np.array([ap, ap]).reshape(2, 1, 1)
    made["metrics"]["resamples"] = pack(centre + luck, 150, ("car",))
    return made


def record(spec: RunSpec, bev: float, step: float = 0.1) -> dict:
    ap = {m: {"R40": [bev, bev, bev], "R11": [0, 0, 0]} for m in ("bev", "3d")}
    return {
        "hash": spec.hash,
        "spec": spec.to_dict(),
        "metrics": {"bev_map": bev, "3d_map": bev / 2, "kitti": {"car": ap}},
        "cost": {
            "parameters": 1_217_320, "method_parameters": 7, "macs": 10**9,
            "ratio": {"parameters": 3.97, "macs": 3.8},
        },
        "latency": {"p50": 5.0, "p90": 6.0, "contention": 0.0},
        "training": {"seconds_per_step": step, "seconds": 9.0, "peak_memory_bytes": 10**9},
    }  # fmt: skip


KD = build_spec(method="kd", ratio=4)
NONE, TEACHER = KD.baseline(), KD.teacher_run()


def row_of(rows, label):
    (row,) = [r for r in rows if r["label"] == label]
    return row


def test_gain_recovered_share_and_extra_cost():
    rows = leaderboard([record(TEACHER, 60, 0.3), record(NONE, 40), record(KD, 45, 0.15)])
    kd = row_of(rows, "kd (bce)")
    assert kd["bev_gain"] == 5
    assert kd["bev_recovered"] == pytest.approx(0.25)
    assert kd["3d_gain"] == 2.5
    assert kd["step_against_none"] == pytest.approx(1.5)
    assert [r["label"] for r in rows] == ["teacher", "none", "kd (bce)"]
    assert row_of(rows, "none")["bev_gain"] == 0
    assert row_of(rows, "teacher")["bev_gain"] is None


def test_a_gain_is_over_all_seeds_and_spread_is_shown():
    seeds = [(0, 40, 45), (1, 42, 46), (2, 38, 46)]
    records = [record(TEACHER, 60)]
    for seed, plain, distilled in seeds:
        records += [record(replace(NONE, seed=seed), plain)]
        records += [record(replace(KD, seed=seed), distilled)]
    kd = row_of(leaderboard(records), "kd (bce)")
    assert kd["seeds"] == [0, 1, 2]
    assert kd["bev_gain"] == pytest.approx(17 / 3)
    assert kd["bev_map_std"] == pytest.approx(3**-0.5)


def test_a_gain_has_an_interval_a_mark_and_a_rank():
    methods = {"kd": 50, "dkd": 49.5, "fitnet": 40.5, "at": 30}
    specs = {name: build_spec(method=name, ratio=4) for name in methods}
    records = [with_frames(record(TEACHER, 60)), with_frames(record(NONE, 40))]
    records += [with_frames(record(specs[name], bev)) for name, bev in methods.items()]
    rows = {r["method"]: r for r in leaderboard(records)}
    assert rows["kd"]["bev_gain_low"] < 10 < rows["kd"]["bev_gain_high"]
    assert rows["kd"]["bev_car_gain"] == pytest.approx(10)
    found = {name: (rows[name]["bev_significant"], rows[name]["bev_rank"]) for name in methods}
    assert found == {"kd": (True, 1), "dkd": (True, 1), "fitnet": (False, 3), "at": (True, 4)}
    assert rows["teacher"]["bev_significant"] is rows["none"]["bev_rank"] is None
    page = markdown(list(rows.values()))
    assert "| (+0.50) |" in page and "| +10.00 |" in page and "| -10.00 |" in page


def test_a_gain_without_drawn_frames_has_no_interval():
    rows = leaderboard([record(NONE, 40), record(KD, 45)])
    kd = row_of(rows, "kd (bce)")
    assert kd["bev_gain_low"] is kd["bev_significant"] is kd["bev_rank"] is None


def test_a_gain_is_over_all_seeds_of_none_whichever_they_are():
    own = [record(replace(KD, seed=seed), 45 + seed) for seed in range(2)]
    plain = [record(replace(NONE, seed=seed), 40) for seed in (1, 5, 6)]
    assert row_of(leaderboard(own + plain), "kd (bce)")["bev_gain"] == 5.5
    assert row_of(leaderboard(own), "kd (bce)")["bev_gain"] is None


def test_no_share_of_a_gap_that_is_hardly_there():
    rows = leaderboard([record(TEACHER, 40.5), record(NONE, 40), record(KD, 45)])
    assert row_of(rows, "kd (bce)")["bev_recovered"] is None


def test_rows_of_one_method_are_told_apart_by_what_differs():
    options = KD.method.options | {"weight": 2.0}
    heavy = replace(KD, method=replace(KD.method, options=options))
    labels = [r["label"] for r in leaderboard([record(KD, 46), record(heavy, 45)])]
    assert labels == ["kd (bce) weight=1.0", "kd (bce) weight=2.0"]


def test_no_share_of_a_gap_within_noise():
    records = [with_frames(record(TEACHER, 43.0), 4.0), with_frames(record(NONE, 40.0), 4.0)]
    records += [with_frames(record(KD, 42.0), 4.0)]
    assert row_of(leaderboard(records), "kd (bce)")["bev_recovered"] is None
    records[0] = with_frames(record(TEACHER, 80.0), 4.0)
    assert row_of(leaderboard(records), "kd (bce)")["bev_recovered"] == pytest.approx(2 / 40)


def test_tables_of_one_name_are_told_apart_by_options_or_teacher():
    other = replace(
        KD, detector=replace(KD.detector, options=KD.detector.options | {"nms_after": 7})
    )
    titles = [title for title, _ in sections(leaderboard([record(KD, 46), record(other, 45)]))]
    assert [title.rpartition(", ")[2] for title in titles] == ["nms_after 50", "nms_after 7"]
    taught = [record(KD.taught_by(weights), 46) for weights in ("a" * 64, "b" * 64)]
    titles = [title for title, _ in sections(leaderboard(taught))]
    assert titles[0].endswith(f"teacher {TEACHER.hash} aaaaaaaaaa")


def test_each_number_of_steps_and_precision_has_a_table_of_its_own():
    changes = {"steps": 7}, {"precision": "bfloat16"}
    others = [replace(KD, train=replace(KD.train, **change)) for change in changes]
    tables = sections(leaderboard([record(spec, 45) for spec in (KD, *others)]))
    assert len(tables) == 3
    assert any("7 steps" in title for title, _ in tables)
    assert any("bfloat16" in title for title, _ in tables)


def test_a_table_has_one_teacher_and_none_stands_in_each():
    records = [record(NONE, 40)]
    for weights, bev in (("a" * 64, 46), ("b" * 64, 48)):
        records.append(record(KD.taught_by(weights), bev))
    records.append(record(TEACHER, 60) | {"weights_sha256": "b" * 64})
    tables = [[row["label"] for row in rows] for _, rows in sections(leaderboard(records))]
    assert tables == [["none", "kd (bce)"], ["teacher", "none", "kd (bce)"]]
    rows = [row for row in leaderboard(records) if row["method"] == "kd"]
    assert [row["bev_gain"] for row in rows] == [6, 8]
    assert [row["bev_recovered"] for row in rows] == [None, pytest.approx(8 / 20)]


def test_rows_that_differ_in_their_frames_are_told_apart():
    options = NONE.dataset.options | {"augmentation": {"rotation": 0.9}}
    other = replace(NONE, dataset=replace(NONE.dataset, options=options))
    labels = [r["label"] for r in leaderboard([record(NONE, 46), record(other, 45)])]
    assert labels[1] == "none dataset.augmentation={'rotation': 0.9}"


def test_ratios_stand_in_tables_of_their_own():
    small = replace(KD, detector=replace(KD.detector, ratio=16.0))
    rows = leaderboard([record(TEACHER, 60), record(KD, 45), record(small, 30)])
    assert [(r["ratio"], r["label"]) for r in rows] == [
        (4, "teacher"), (4, "kd (bce)"), (16, "teacher"), (16, "kd (bce)"),
    ]  # fmt: skip


def test_a_latency_that_other_programs_disturbed_is_marked():
    disturbed = record(KD, 45)
    disturbed["latency"] = {"p50": 5.0, "p90": 6.0, "contention": 0.9}
    page = markdown(leaderboard([record(NONE, 40), disturbed]))
    assert "| 5.0* | 6.0* |" in page and "| 5.0 | 6.0 |" in page


def test_tables_say_the_same_in_every_form(tmp_path):
    rows = leaderboard([record(TEACHER, 60), record(NONE, 40), record(KD, 45.25)])
    page, sheet = write_tables(rows, tmp_path)
    line = next(x for x in page.read_text().splitlines() if x.startswith("| kd"))
    assert "| 45.25 | +5.25 | - | 26% |" in line
    assert len(line.split("|")) == len(ACCURACY) + 2
    header, *values = sheet.read_text().splitlines()
    assert "bev_gain" in header.split(",") and len(values) == 3
    assert markdown(rows) == page.read_text()
    assert [len(t.rows) for t in rich_tables(rows)] == [3, 3, 3]
    assert [len(t.rows) for t in rich_tables(rows * 100)] == [300]
