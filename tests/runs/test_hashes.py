"""Published records and weights are found by hashes of specs, so those must never move."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest

from kdbench.registry.options import complete, lean, neutral_of, stored
from kdbench.runs import spec as specs
from kdbench.runs.records import check_hash, read_records
from kdbench.runs.schema1 import is_old
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import RunSpec, TrainSpec, later

# Specs as records hold them, with the hash that they had when they were written. Add to them; a
# change of one means that everybody's published teachers and rows are lost.
KNOWN = json.loads(Path(__file__).with_name("hashes.json").read_text())


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known["hash"])
def test_a_spec_hashes_as_its_record_says(known):
    assert RunSpec.from_dict(known["spec"]).hash == known["hash"]


@pytest.mark.parametrize("known", [k for k in KNOWN if not is_old(k["spec"])])
def test_a_spec_is_the_same_after_a_trip_through_its_record(known):
    spec = RunSpec.from_dict(known["spec"])
    assert json.loads(json.dumps(spec.to_dict())) == known["spec"]
    assert replace(spec, seed=99).hash != known["hash"]


@dataclass(frozen=True)
class Longer(TrainSpec):
    """A schedule with a setting that an older version did not have."""

    betas: float = later(0.9)


def test_a_later_setting_at_its_neutral_value_is_no_part_of_a_hash(monkeypatch):
    spec = RunSpec()
    monkeypatch.setitem(specs.PARTS, "train", Longer)
    newer = replace(spec, train=Longer())
    assert newer.hash == spec.hash and "betas" not in newer.to_dict()["train"]
    assert RunSpec.from_dict(spec.to_dict()).train.betas == 0.9
    changed = replace(spec, train=Longer(betas=0.8))
    assert changed.hash != spec.hash
    assert RunSpec.from_dict(changed.to_dict()).train.betas == 0.8
    assert {f.name for f in fields(Longer)} - {f.name for f in fields(TrainSpec)} == {"betas"}


class Plugin:
    neutral = {"adapter": "linear"}

    def __init__(self, *, weight=1.0, adapter="ensemble"):
        pass


def test_a_later_option_of_a_plugin_stays_out_at_its_neutral_value():
    older = {"weight": 1.0}
    assert lean(Plugin, complete("plugin", Plugin, {"adapter": "linear"})) == older
    assert stored("plugin", Plugin, older) == {"weight": 1.0, "adapter": "linear"}
    # What is the default today is not what an older spec meant.
    today = lean(Plugin, complete("plugin", Plugin, {}))
    assert today == {"weight": 1.0, "adapter": "ensemble"}
    assert stored("plugin", Plugin, today) == today


def test_how_files_are_read_is_part_of_a_hash_where_they_are_not_as_kittis():
    spec = build_spec(dataset="kitti")
    assert "columns" not in spec.dataset.options
    for option, neutral, other in (("columns", 4, 5), ("crop", True, False)):
        key = f"dataset.{option}"
        assert build_spec(dataset="kitti", overrides={key: neutral}).hash == spec.hash
        assert build_spec(dataset="kitti", overrides={key: other}).hash != spec.hash


class Fewer(Plugin):
    """Without the later option of the class that it derives from."""

    def __init__(self, *, weight=1.0):
        super().__init__(weight=weight)


def test_a_derived_plugin_may_lack_a_later_option():
    assert stored("plugin", Fewer, {}) == {"weight": 1.0}
    assert neutral_of(Fewer) == {} and neutral_of(Plugin) == {"adapter": "linear"}


def test_records_of_schema_1_are_read_as_todays(tmp_path):
    old = next(k for k in KNOWN if is_old(k["spec"]) and k["spec"]["method"]["name"] == "kd")
    parts = dict.fromkeys(("metrics", "cost", "latency", "training"), {"some": 1})
    folder = tmp_path / "synthetic/pointpillars-x4/kd"
    folder.mkdir(parents=True)
    path = folder / f"seed0-{old['hash']}.json"
    path.write_text(json.dumps({"schema": 1, "teacher": "0123456789", **old, **parts}))
    (record,) = read_records(tmp_path)
    check_hash(record)
    spec = RunSpec.from_dict(record["spec"])
    assert record["was"] == old["hash"] != record["hash"] == spec.hash
    assert spec.teacher.steps == old["spec"]["train"]["teacher_steps"]
    assert record["teacher"] == spec.teacher_run().hash
    assert spec.train.precision == "float32"


def test_a_record_of_schema_1_that_was_changed_by_hand_is_still_found_out(tmp_path):
    old = next(k for k in KNOWN if is_old(k["spec"]))
    changed = old["spec"] | {"seed": 7}
    parts = dict.fromkeys(("metrics", "cost", "latency", "training"), {"some": 1})
    path = tmp_path / f"a/b/c/seed0-{old['hash']}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schema": 1, "hash": old["hash"], "spec": changed, **parts}))
    (record,) = read_records(tmp_path)
    with pytest.raises(Exception, match="changed by hand"):
        check_hash(record)
