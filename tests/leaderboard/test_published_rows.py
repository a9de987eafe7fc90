"""`kdbench report --published`: a user's rows among those that come with kdbench."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from kdbench.cli.report import report
from kdbench.leaderboard.rows import leaderboard, with_own
from kdbench.runs import published, verified
from kdbench.runs.records import write_record


@pytest.fixture
def folders(tmp_path, monkeypatch, record, student) -> tuple[Path, Path]:
    """Results with a method of the user's own, and published ones; both with `none`."""
    ours, own = tmp_path / "published", tmp_path / "results"
    monkeypatch.setattr(published, "FOLDER", ours)
    theirs = {"device": "cpu", "cpu": "another processor", "threads": 2}
    for name, bev in {"none": 40.0, "kd": 45.0}.items():
        for seed in range(3):
            made = record(replace(student(name), seed=seed), bev + seed)
            write_record(ours, made | {"environment": theirs})
            longer = record(replace(student(name, budget=2), seed=seed), bev + 5 + seed)
            write_record(ours, longer | {"environment": theirs})
    write_record(ours, record(student("kd").teacher_run(), 60.0))
    write_record(ours, record(student("none", ratio=16.0), 20.0))
    lines = [verified.entry_of(found) for found in published.records()]
    verified.list_path().write_text("\n".join(lines))
    for seed in range(2):
        write_record(own, record(replace(student("mine"), seed=seed), 47.0 + seed))
    write_record(own, record(student("none"), 40.5))  # the same run as the published one
    return own, ours


def shown(*arguments) -> str:
    done = CliRunner().invoke(report, [*map(str, arguments), "--no-pictures"], terminal_width=200)
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


def test_published_rows_stand_beside_the_users_own(folders):
    own, _ = folders
    text = shown("--results", own, "--published")
    page = (own / "leaderboard.md").read_text()
    lines = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("|")}
    assert r"kd \[published\]" in lines and "mine" in lines
    assert "ratio 16" not in page  # a table without a row of the user's
    assert "10.0†" in page  # the latency of another machine
    assert "kd [published]" in text and "worth" in text


def test_the_users_own_record_counts_where_a_run_is_in_both(folders, record, student):
    own, ours = folders
    shown("--results", own, "--published")
    sheet = pd.read_csv(own / "leaderboard.csv")
    (none,) = sheet[(sheet.method == "none") & sheet.ratio.eq(4) & sheet.label.eq("none")].bev_map
    assert none == pytest.approx((40.5 + 41 + 42) / 3)


def test_without_the_flag_no_published_row_is_shown(folders):
    own, _ = folders
    assert "[published]" not in shown("--results", own)


def test_tables_without_a_row_of_ones_own_are_left_out(record, student):
    kd = record(student("kd"), 45.0) | {"published": True, "verified": True}
    records = [kd, record(student("none"), 40.0)]
    assert {row["label"] for row in with_own(leaderboard(records))} == {"kd [published]", "none"}
    records[1]["published"] = True
    assert with_own(leaderboard(records)) == []


def test_rows_that_nobody_vouches_for_are_marked(folders, record, student):
    own, ours = folders
    for seed in range(2):
        sent = record(replace(student("better"), seed=seed), 90.0 + seed) | {"verified": True}
        write_record(ours, sent)
    shown("--results", own, "--published")
    labels = set(pd.read_csv(own / "leaderboard.csv").label)
    assert {"kd [published]", "better [published] [not verified]", "mine", "none"} <= labels
    write_record(ours, record(replace(student("kd"), seed=7), 99.0))  # a seed more, of a stranger
    shown("--results", own, "--published")
    labels = set(pd.read_csv(own / "leaderboard.csv").label)
    assert "kd [published] [not verified]" in labels
