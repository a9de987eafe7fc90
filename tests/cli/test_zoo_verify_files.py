"""`kdbench zoo verify FILE`: what is right of a record that is sent in, line by line."""

import json
import re

import pytest

from kdbench.runs import published, verified


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    """A published record, and a function that writes it to a file with something changed."""
    path = min(published.FOLDER.glob("*/pointpillars-x4/none/seed0-*.json"))
    folder = tmp_path_factory.mktemp("sent")

    def write(change=lambda record: None, name=path.name):
        record = json.loads(path.read_text())
        change(record)
        (folder / name).write_text(json.dumps(record))
        return folder / name

    return write


def test_a_record_that_is_right(kdbench, sent):
    code, out, _ = kdbench("zoo", "verify", sent())
    found = [line.split(": ", 1)[1] for line in out.splitlines()]
    assert code == 0
    assert found == [f"{what}: right" for what in ("schema", "spec", "hash", "name", "mAP")]


def set_to(value, *keys):
    def change(record):
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = value

    return change


WRONG = {
    "schema": (set_to(3, "schema"), "schema: wrong: .*schema 3"),
    "no spec": (lambda record: record.pop("spec"), "schema: wrong: .*it has no spec"),
    "rate": (set_to(0.1, "spec", "train", "lr"), "hash: wrong: .*its record has the hash"),
    "hash": (set_to("0" * 10, "hash"), "hash: wrong"),
    "unknown": (set_to("telepathy", "spec", "method", "name"), "spec: wrong: unknown method"),
    "field": (set_to(1, "spec", "luck"), "schema: wrong: .*luck"),
    "type": (set_to("many", "spec", "train", "steps"), "spec: wrong: train.steps"),
    "mean": (set_to(99.0, "metrics", "bev_map"), "mAP: wrong: bev_map is 99.00"),
    "class": (set_to(99.0, "metrics", "ap", "3d", "car"), "mAP: wrong: 3d_map is"),
    "no mean": (lambda record: record["metrics"].pop("3d_map"), "mAP: wrong: cannot be read"),
}


@pytest.mark.parametrize("change, message", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_line_by_line(kdbench, sent, change, message):
    code, out, err = kdbench("zoo", "verify", sent(), sent(change, "seed0-other.json"))
    assert code == 4 and "1 of 2 records are not as they should be" in err
    lines = [line for line in out.splitlines() if "seed0-other" in line]
    assert any(re.search(message, line) for line in lines), out


def test_a_file_that_is_no_record(kdbench, tmp_path, sent):
    (tmp_path / "notes.json").write_text("{")
    code, out, _ = kdbench("zoo", "verify", "notes.json", "absent.json")
    assert code == 4 and out.count("file: wrong: cannot be read as JSON") == 2
    assert "name: wrong: the file of this run" in kdbench("zoo", "verify", sent(name="a.json"))[1]
    assert kdbench("zoo", "verify", sent(), "--score")[0] == 2


def test_only_the_maintainers_list_says_what_is_verified(tmp_path, monkeypatch, sent):
    record = json.loads(sent().read_text())
    assert verified.is_verified(record)  # published with kdbench
    assert not verified.is_verified(record | {"verified": True})
    better = json.loads(json.dumps(record))
    better["metrics"]["bev_map"] += 1
    assert not verified.is_verified(better)
    monkeypatch.setattr(published, "FOLDER", tmp_path)
    assert not verified.is_verified(record)
    verified.list_path().write_text(f"# seen\n\n{verified.entry_of(record)}\n")
    assert verified.is_verified(record)


def test_all_that_is_published_is_verified():
    assert all(verified.is_verified(record) for record in published.records())


def test_publishing_says_the_line_that_verifies(kdbench, sent, tmp_path, monkeypatch):
    monkeypatch.setattr(published, "FOLDER", tmp_path / "published")
    code, _, err = kdbench("zoo", "publish", sent(), "--record-only")
    assert code == 0
    line = re.search(r"in verified.txt: (.*)", err).group(1)
    (record,) = published.records()
    assert not verified.is_verified(record)
    assert "good, not verified" in kdbench("zoo", "verify")[2]
    verified.list_path().write_text(line)
    assert verified.is_verified(record)
    assert "not verified" not in kdbench("zoo", "verify")[2]
