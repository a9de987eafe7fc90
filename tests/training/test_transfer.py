"""Runs scored on real frames: while they run, afterwards, and never on their own."""

import json
import shutil

import pytest
from click.testing import CliRunner

from kdbench.cli.transfer import transfer_command
from kdbench.errors import KdbenchError, UsageError
from kdbench.runs.records import find_record
from kdbench.runs.store import run_folder
from kdbench.training.transfer import with_transfer


@pytest.fixture
def real(kitti_tree, tmp_path):
    """Another tree, of the same frames less one."""
    root = shutil.copytree(kitti_tree, tmp_path / "real")
    train = root / "ImageSets" / "train.txt"
    train.write_text("\n".join(train.read_text().split()[1:]))
    return root


def test_a_run_is_scored_on_real_frames_while_its_weights_are_there(make_runner, make_spec, real):
    runner = make_runner(transfer=str(real))
    (found,) = runner.run(make_spec())["transfer"]
    assert (found["split"], found["frames"]) == ("all", 5)
    assert set(found["ap"]) == {"bev", "3d"} and "resamples" in found
    assert found["fingerprint"] != runner.run(make_spec())["spec"]["dataset"]["fingerprint"]


def test_a_run_that_was_done_before_is_scored_from_its_weights(make_runner, make_spec, real):
    plain = make_runner().run(make_spec())
    assert "transfer" not in plain
    runner = make_runner(transfer=str(real))
    record = runner.run(make_spec())
    assert record == plain | {"transfer": record["transfer"]}
    spec, _ = runner.prepare(make_spec())
    assert find_record(runner.results, spec) == record
    shutil.rmtree(run_folder(spec))
    assert runner.run(make_spec()) == record  # what it has is not asked for again


def test_frames_that_a_run_learned_from_do_not_judge_it(make_runner, make_spec, kitti_tree):
    with pytest.raises(UsageError, match="learned from these frames itself"):
        make_runner(transfer=str(kitti_tree)).run(make_spec())
    with pytest.raises(KdbenchError, match="no such list"):
        make_runner(transfer=str(kitti_tree / "nothing")).run(make_spec())


def test_the_command_adds_figures_and_names_what_it_leaves(make_runner, make_spec, real, tmp_path):
    runner = make_runner()
    spec, _ = runner.prepare(make_spec())
    record = runner.run(make_spec())
    path = runner.results / spec.record_path
    arguments = [str(path), str(tmp_path / "absent.json"), "--data-root", str(real)]
    for split in ("val", "all", "val"):
        done = CliRunner().invoke(transfer_command, [*arguments, "--split", split])
        assert "BEV mAP" in done.stderr and "absent.json" in done.stderr
        assert "1 of 2 records" in str(done.exception)
    written = json.loads(path.read_text())
    assert [each["split"] for each in written["transfer"]] == ["all", "val"]
    assert {key: written[key] for key in record} == json.loads(json.dumps(record))


def test_newer_figures_of_the_same_frames_take_the_place_of_older_ones():
    old, other = {"fingerprint": "a", "split": "all"}, {"fingerprint": "b", "split": "all"}
    new = old | {"frames": 3}
    assert with_transfer({"transfer": [old, other]}, new)["transfer"] == [other, new]
