"""Record files: their dates, and records that are not of the run they say they are."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from kdbench.cli.report import report
from kdbench.errors import KdbenchError
from kdbench.leaderboard.reading import readable
from kdbench.runs.records import (
    check_hash,
    each_record,
    read_record,
    read_records,
    write_record,
)

RESULTS = Path(__file__).resolve().parents[2] / "results"


def test_a_record_is_dated_when_it_is_first_written(records, tmp_path):
    before = datetime.now(UTC).replace(microsecond=0)
    path = write_record(tmp_path, records[0])
    date = json.loads(path.read_text())["date"]
    assert before <= datetime.fromisoformat(date) <= datetime.now(UTC)
    records[0]["date"] = "2020-01-01T00:00:00+00:00"
    write_record(tmp_path, records[0])
    assert json.loads(path.read_text())["date"] == "2020-01-01T00:00:00+00:00"


def test_an_unknown_date_stays_unknown(records, tmp_path):
    records[0]["date"] = None
    assert json.loads(write_record(tmp_path, records[0]).read_text())["date"] is None


def test_one_at_a_time_or_all_at_once(records, tmp_path):
    for record in records:
        write_record(tmp_path, record)
    assert list(each_record(tmp_path)) == read_records(tmp_path)
    assert len(read_records(tmp_path)) == len(records)


def test_a_record_of_another_run_is_found(records):
    for record in records:
        check_hash(record)
    records[0]["spec"]["train"]["lr"] *= 2
    with pytest.raises(KdbenchError, match=records[0]["hash"]):
        check_hash(records[0])


def test_reports_name_such_a_record_and_leave_it_out(records, tmp_path):
    paths = [write_record(tmp_path, record) for record in records]
    changed = json.loads(paths[-1].read_text())
    changed["spec"]["train"]["lr"] *= 2
    paths[-1].write_text(json.dumps(changed))
    done = CliRunner().invoke(report, ["--results", str(tmp_path), "--no-pictures"])
    assert done.exit_code == 0
    why = f"left out: bad pointpillars-x4 seed 0: its record has the hash {changed['hash']}"
    assert why in done.output
    text = (tmp_path / "leaderboard.md").read_text()
    assert "| best |" in text and "| bad |" not in text


def torn(metrics: dict) -> dict:
    return metrics | {"resamples": metrics["resamples"] | {"metrics": []}}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: r.update(metrics=None), "its figures cannot be read"),
        (lambda r: r["metrics"].update(bev_map="40"), "metrics.bev_map is no number"),
        (lambda r: r["metrics"].update(bev_map=10**400), "metrics.bev_map is no number"),
        (lambda r: r["metrics"]["kitti"].pop("car"), "metrics.resamples cannot be unpacked"),
        (lambda r: r["metrics"]["resamples"].update(ap="AAA="), "cannot be unpacked"),
        (lambda r: r["metrics"].update(calibration={"bev": {}}), "calibration.3d is absent"),
        (lambda r: r.update(latency=[]), "its figures cannot be read"),
        (lambda r: r["cost"].pop("ratio"), "cost.ratio is absent"),
        (lambda r: r["training"].pop("seconds"), "training.seconds is absent"),
        (lambda r: r["training"].update(trace=[None]), "training.trace[0] is no dictionary"),
        (lambda r: r.update(transfer={}), "transfer is no list"),
        (
            lambda r: r.update(transfer=[torn(r["metrics"]) | {"fingerprint": "", "split": "val"}]),
            "metrics.resamples cannot be unpacked",
        ),
        (lambda r: r["spec"].update(seed="0"), "seed: '0' is not of type int"),
    ],
)
def test_a_damaged_record_is_named_and_left_out(records, tmp_path, change, why):
    paths = [write_record(tmp_path, record) for record in records]
    changed = json.loads(paths[-1].read_text())
    change(changed)
    paths[-1].write_text(json.dumps(changed))
    problems = []
    found = readable(tmp_path, problems)
    assert len(found) == len(records) - 1
    assert len(problems) == 1 and why in problems[0] and changed["hash"] in problems[0]


def test_no_committed_record_is_left_out():
    problems = []
    assert readable(RESULTS / "published", problems)
    assert problems == []


def test_a_record_too_deep_to_read_is_named(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(KdbenchError, match="deep.json: not a record, damaged JSON"):
        read_record(path)


def test_files_are_written_even_when_the_reader_of_the_tables_has_gone(
    records, tmp_path, monkeypatch
):
    def gone(rows):
        raise BrokenPipeError

    for record in records:
        write_record(tmp_path, record)
    monkeypatch.setattr("kdbench.cli.report.rich_tables", gone)
    done = CliRunner().invoke(report, ["--results", str(tmp_path), "--no-pictures"])
    assert done.exit_code != 0
    names = ("leaderboard.md", "leaderboard.csv", "leaderboard.tex", "index.html")
    assert all((tmp_path / name).exists() for name in names)
