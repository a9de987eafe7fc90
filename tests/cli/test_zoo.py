"""`kdbench zoo`: publishing a teacher, finding it, and telling whether it is whole."""

import json

import pytest

from kdbench.runs import published
from kdbench.runs.records import read_records
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import run_folder


@pytest.fixture
def tiny(kitti_tree):
    return ["run", "--profile", "tiny", "--dataset", "kitti", "--data-root", kitti_tree]


@pytest.fixture
def teacher(kdbench, tiny, tmp_path, monkeypatch):
    """The path of a teacher's published record; nothing is left of it in KDBENCH_HOME."""
    monkeypatch.setattr(published, "FOLDER", tmp_path / "published")
    assert kdbench(*tiny, "--method", "fitnet")[0] == 0
    (path,) = (tmp_path / "results").glob("*/pointpillars-x1/none/*.json")
    code, _, err = kdbench("zoo", "publish", path)
    assert code == 0 and err.count("wrote") == 4
    found = published.FOLDER / path.relative_to(tmp_path / "results")
    spec = RunSpec.from_dict(json.loads(found.read_text())["spec"])
    for left in run_folder(spec).iterdir():
        left.unlink()
    return found


def test_what_is_published_is_listed(kdbench, teacher):
    code, out, _ = kdbench("zoo", "--json", "-")
    (row,) = json.loads(out)
    assert code == 0
    assert (row["detector"], row["ratio"], row["method"], row["steps"]) == (
        "pointpillars", 1, "teacher", 4,
    )  # fmt: skip
    assert row["real"] is None and row["bytes"] > 1e6 and row["record"] == str(teacher)
    assert {"bev_map", "3d_map"} <= row.keys()
    code, out, _ = kdbench("zoo")
    assert code == 0 and "pointpillars" in out


def test_it_is_found_before_one_is_trained(kdbench, tiny, teacher, tmp_path):
    code, _, err = kdbench(*tiny, "--method", "kd", "--results", "other", "--seed", "1")
    assert code == 0
    assert "published, " in err and "teacher pointpillars-x1 seed 0: 1/" not in err
    record = json.loads(teacher.read_text())
    (student,) = [
        r for r in read_records(tmp_path / "other") if r["spec"]["method"]["name"] == "kd"
    ]
    assert student["teacher"] == record["hash"]
    assert student["teacher_weights"] == record["weights_sha256"]
    (row,) = (tmp_path / "other").glob("*/pointpillars-x1/none/*.json")
    assert json.loads(row.read_text()) == record  # so that the teacher stands in its table


def test_one_is_trained_all_the_same_if_that_is_asked_for(kdbench, tiny, teacher):
    code, _, err = kdbench(*tiny, "--method", "kd", "--results", "other", "--train-teacher")
    assert code == 0 and "published, " not in err
    assert "teacher pointpillars-x1 seed 0: BEV mAP" in err


def test_a_miss_says_what_differs(kdbench, tiny, teacher):
    code, _, err = kdbench(*tiny, "--method", "kd", "--set", "teacher.steps=5")
    assert code == 0
    assert "not the published one (train.steps 4 -> 5), so it is trained here" in err


def test_what_is_whole_is_good(kdbench, teacher):
    code, _, err = kdbench("zoo", "verify")
    assert code == 0 and "good" in err


def test_its_score_is_compared_with_the_record(kdbench, teacher, kitti_tree, monkeypatch):
    monkeypatch.setenv("KDBENCH_KITTI", str(kitti_tree))
    code, _, err = kdbench("zoo", "verify", "--score")
    assert code == 0 and "bev_map +0.000, 3d_map +0.000 from the record" in err
    record = json.loads(teacher.read_text())
    record["metrics"]["bev_map"] += 5
    teacher.write_text(json.dumps(record))
    code, _, err = kdbench("zoo", "verify", "--score")
    assert code == 4 and "5.00 off its record" in err


@pytest.mark.parametrize("damage", ["truncated", "absent", "other", "spec", "moved"])
def test_what_is_not_whole_is_named(kdbench, teacher, damage):
    weights = teacher.with_suffix(".safetensors")
    record = json.loads(teacher.read_text())
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "absent":
        weights.unlink()
    elif damage == "other":
        teacher.write_text(json.dumps(record | {"weights_sha256": "0" * 64}))
    elif damage == "spec":
        record["spec"]["train"]["lr"] *= 2
        teacher.write_text(json.dumps(record))
    else:
        place = teacher.parents[2] / "second-x1" / "none"
        place.mkdir(parents=True)
        for path in (teacher, weights):
            path.rename(place / path.name)
    code, _, err = kdbench("zoo", "verify")
    assert code == 4 and "1 of 1 published runs are not as they should be" in err


def test_only_what_is_here_is_published(kdbench, teacher, tmp_path):
    code, _, err = kdbench("zoo", "publish", teacher, "--to", tmp_path / "new")
    assert code == 4 and "not the weights of this record" in err
    assert not (tmp_path / "new").exists()
    code, _, err = kdbench("zoo", "publish", tmp_path / "absent.json")
    assert code == 1 and "cannot be read" in err


def test_weights_that_are_too_large_are_not_published(kdbench, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(published, "FOLDER", tmp_path / "published")
    monkeypatch.setattr("kdbench.runs.publishing.MOST_BYTES", 1000)
    assert kdbench(*tiny, "--method", "none")[0] == 0
    (path,) = (tmp_path / "results").glob("*/*/none/*.json")
    code, _, err = kdbench("zoo", "publish", path)
    assert code == 1 and "at most 0 MB a file" in err
    assert not list((tmp_path / "published").rglob("*.*"))


def test_the_card_says_what_a_person_should_know(teacher):
    card = teacher.with_suffix(".md").read_text()
    for word in ("## Data", "## Training", "## Licence", "kitti", "teacher pointpillars-x1"):
        assert word in card


def test_with_nothing_published_that_is_said(kdbench, tmp_path, monkeypatch):
    monkeypatch.setattr(published, "FOLDER", tmp_path / "published")
    code, out, _ = kdbench("zoo")
    assert code == 0 and "nothing is published" in out
    assert json.loads(kdbench("zoo", "--json", "-")[1]) == []


def test_a_bare_record_is_a_row_and_no_network(kdbench, teacher, tmp_path):
    (student,) = (tmp_path / "results").glob("*/pointpillars-x4/fitnet/*.json")
    code, _, err = kdbench("zoo", "publish", student, "--record-only")
    assert code == 0 and err.count("wrote") == 1
    assert len(json.loads(kdbench("zoo", "--json", "-")[1])) == 1  # the teacher
    code, _, err = kdbench("zoo", "verify")
    assert code == 0 and err.count("good") == 2
    assert "fitnet" in {record["spec"]["method"]["name"] for record in published.records()}
    (bare,) = published.FOLDER.glob("*/pointpillars-x4/fitnet/*.json")
    record = json.loads(bare.read_text())
    record["spec"]["seed"] = 7
    bare.write_text(json.dumps(record))
    assert kdbench("zoo", "verify")[0] == 4
