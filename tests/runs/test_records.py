import json

import pytest

from kdbench.errors import KdbenchError
from kdbench.runs.records import (
    SCHEMA,
    check_writable,
    find_record,
    read_record,
    read_records,
    write_record,
)
from kdbench.runs.spec import RunSpec


def record_of(spec: RunSpec) -> dict:
    parts = dict.fromkeys(("cost", "latency", "training"), {"some": 1})
    known = {
        "schema": SCHEMA,
        "hash": spec.hash,
        "spec": spec.to_dict(),
        "metrics": {"bev_map": 1.0},
    }
    return known | parts


def test_a_record_is_found_by_its_spec(tmp_path):
    spec = RunSpec(seed=3)
    record = record_of(spec) | {"date": "2026-01-31T12:00:00+00:00"}
    path = write_record(tmp_path, record)
    assert path == tmp_path / f"synthetic/pointpillars-x1/none/seed3-{spec.hash}.json"
    assert find_record(tmp_path, spec) == record
    assert find_record(tmp_path, RunSpec(seed=4)) is None
    assert read_records(tmp_path) == [record]


def test_nothing_else_stays_in_the_folder(tmp_path):
    path = write_record(tmp_path, record_of(RunSpec()))
    check_writable(tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_damage_and_other_schemas_are_named(tmp_path):
    path = write_record(tmp_path, record_of(RunSpec()))
    path.write_text(path.read_text()[:50])
    with pytest.raises(KdbenchError, match=f"{path}: not a record"):
        read_record(path)
    path.write_text(json.dumps({"schema": 99}))
    with pytest.raises(KdbenchError, match="schema 99, this version reads up to 2"):
        read_record(path)


def test_a_record_of_a_newer_version_is_named_and_stops_no_other(tmp_path):
    good = write_record(tmp_path, record_of(RunSpec()))
    newer = write_record(tmp_path, record_of(RunSpec(seed=1)))
    changed = json.loads(newer.read_text())
    changed["spec"]["train"]["ema"] = 0.99
    newer.write_text(json.dumps(changed))
    problems = []
    assert read_records(tmp_path, problems) == [read_record(good)]
    assert len(problems) == 1 and "'ema'" in problems[0] and str(newer) in problems[0]
    with pytest.raises(KdbenchError, match="a newer version of kdbench wrote it"):
        read_record(newer)


def test_what_cannot_be_read_can_be_left_out_and_named(tmp_path):
    good, bad, foreign = (write_record(tmp_path, record_of(RunSpec(seed=s))) for s in range(3))
    bad.write_text("{")
    foreign.write_text(json.dumps({"schema": 1, "loss": 0.5}))
    problems = []
    assert read_records(tmp_path, problems) == [read_record(good)]
    assert len(problems) == 2
    assert str(bad) in problems[0] and "damaged JSON" in problems[0]
    assert str(foreign) in problems[1] and "it has no hash, spec" in problems[1]
    with pytest.raises(KdbenchError, match="damaged JSON"):
        read_records(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(KdbenchError, match="no such folder"):
        read_records(tmp_path / "absent")
