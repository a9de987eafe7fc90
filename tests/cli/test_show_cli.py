"""`kdbench show`, and the pictures and logs of `kdbench report`, on made-up detections."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.detector import Detections
from kdbench.runs.records import SCHEMA, write_record
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import RunSpec
from kdbench.runs.store import run_folder, save_detections
from kdbench.training.data import build_dataset

CLASSES = ("car", "pedestrian", "cyclist")


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A terminal in which nothing is folded."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def runs(kdbench, kitti_tree, tmp_path):
    """Specs by name; the teacher finds all, `none` nothing, kd all in the second frame only."""
    spec = build_spec(profile="tiny", dataset="kitti", method="kd", ratio=4.0)
    dataset = build_dataset(spec, str(kitti_tree))
    spec = replace(spec, dataset=replace(spec.dataset, fingerprint=dataset.fingerprint()))
    named = {"teacher": spec.teacher_run(), "none": spec.baseline(), "kd": spec}
    finds = {"teacher": {"000002", "000003"}, "none": set(), "kd": {"000003"}}
    for name, run in named.items():
        found = {i: detections(dataset.frame(i), i in finds[name]) for i in dataset.ids("val")}
        save_detections(run, dataset, found)
        write_record(tmp_path / "results", made_record(run, 40.0 + len(found)))
    return named


def detections(frame, right: bool) -> Detections:
    """The objects themselves, or one box where nothing is."""
    boxes, labels = (frame.boxes, frame.labels) if right else (frame.boxes[:1] + 3, [0])
    scores = np.full(len(boxes), 0.8, np.float32)
    return Detections(torch.tensor(boxes), torch.tensor(scores), torch.tensor(labels))


def made_record(run, bev: float) -> dict:
    kitti = {c: {m: {"R40": [bev] * 3} for m in ("bev", "3d")} for c in CLASSES}
    return {
        "schema": SCHEMA, "hash": run.hash, "spec": run.to_dict(),
        "metrics": {"bev_map": bev, "3d_map": bev, "kitti": kitti},
        "cost": {"parameters": 10, "method_parameters": 0, "macs": 10,
                 "ratio": {"parameters": 4.0, "macs": 4.0}},
        "latency": {"p50": 1.0, "p90": 1.0, "contention": None},
        "training": {"seconds_per_step": None, "seconds": 1.0, "peak_memory_bytes": 10},
    }  # fmt: skip


def test_the_frame_where_the_run_is_ahead_is_shown(kdbench, runs, kitti_tree, tmp_path):
    code, out, err = kdbench("show", runs["kd"].hash[:6], "--data-root", kitti_tree)
    assert (code, out) == (0, "")
    assert "differ most from those of `none`, either way" in err
    frame = next(line for line in err.splitlines() if line.startswith("frame 000003"))
    assert "kd: 2 of 2 found, 0 false alarms" in frame and "none: 0 of 2 found" in frame
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert f"{runs['kd'].hash}-000003-above.png" in names
    with Image.open(tmp_path / "pictures" / names[0]) as image:
        assert image.width > 2 * image.height  # three panels


def test_a_frame_can_be_asked_for_and_missing_runs_are_named(kdbench, runs, kitti_tree, tmp_path):
    (run_folder(runs["teacher"]) / "detections.npz").unlink()
    path = tmp_path / "results" / runs["kd"].record_path
    arguments = ["show", path, "--data-root", kitti_tree, "--out", "x"]
    code, _, err = kdbench(*arguments, "--frame", "000002", "--frame", "000003")
    assert code == 0
    assert "teacher is left out" in err and "teacher:" not in err
    assert len(list((tmp_path / "x").glob("*-above.png"))) == 2


def test_where_there_is_an_image_the_camera_sees_it_too(kdbench, runs, kitti_tree, tmp_path):
    folder = kitti_tree / "training/image_2"
    folder.mkdir()
    Image.fromarray(np.zeros((375, 1242, 3), np.uint8)).save(folder / "000003.png")
    arguments = ["show", runs["kd"].hash, "--data-root", kitti_tree, "--frame", "000003"]
    assert kdbench(*arguments)[0] == 0
    names = sorted(path.name.split("-", 1)[1] for path in (tmp_path / "pictures").iterdir())
    assert names == ["000003-above.png", "000003-camera.png"]


def test_a_high_score_leaves_nothing(kdbench, runs, kitti_tree):
    arguments = ["show", runs["kd"].hash, "--data-root", kitti_tree, "--frame", "000003"]
    _, _, err = kdbench(*arguments, "--score", "0.9")
    assert "kd: 0 of 2 found, 0 false alarms" in err


def test_a_run_without_distillation_is_shown_too(kdbench, runs, kitti_tree, tmp_path):
    code, _, err = kdbench("show", runs["none"].hash, "--data-root", kitti_tree)
    assert code == 0 and "no two students to compare" in err
    assert len(list((tmp_path / "pictures").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.json"], 2, "absent.json: no such file, and no run in results whose hash"),
        (["[0]"], 2, "no such file"),
        ([""], 2, "no such file"),
        (["HASH", "--score", "2"], 2, "not in the range"),
        (["HASH", "--frame", "999999"], 4, "999999"),
        (["HASH", "--frame", "000000"], 4, "has no detections of it"),
    ],
)
def test_mistakes_get_one_line(kdbench, runs, kitti_tree, arguments, code, message):
    arguments = [runs["kd"].hash if a == "HASH" else a for a in arguments]
    got, _, err = kdbench("show", *arguments, "--data-root", kitti_tree)
    assert got == code
    assert message in err and "Traceback" not in err


def test_a_start_that_several_runs_share(kdbench, runs, tmp_path):
    for seed in range(1, 20):
        write_record(tmp_path / "results", made_record(replace(runs["kd"], seed=seed), 40.0))
    starts = [p.stem.split("-")[1][0] for p in (tmp_path / "results").glob("*/*/*/*.json")]
    shared = next(s for s in starts if starts.count(s) > 1)
    code, _, err = kdbench("show", shared)
    assert code == 2 and f"{starts.count(shared)} runs start so" in err


def test_no_detections_and_other_frames(kdbench, runs, kitti_tree):
    label = kitti_tree / "training/label_2/000002.txt"
    label.write_text(label.read_text() + label.read_text())
    code, _, err = kdbench("show", runs["kd"].hash, "--data-root", kitti_tree)
    assert code == 4 and "the run's are" in err
    for run in runs.values():
        (run_folder(run) / "detections.npz").unlink()
    code, _, err = kdbench("show", runs["kd"].hash, "--data-root", kitti_tree)
    assert code == 4 and "no detections in the cache" in err


# The report.


def test_the_report_holds_pictures_and_curves(kdbench, runs, kitti_tree, tmp_path):
    for run in runs.values():
        entries = [{"step": s, "cls": 1.0, "lr": 1.0, "grad_norm": 1.0} for s in range(5)]
        text = "".join(json.dumps(entry) + "\n" for entry in entries)
        (run_folder(run) / "log.jsonl").write_text(text)
    code, _, err = kdbench("report", "--data-root", kitti_tree)
    assert code == 0
    wrote = [line.split("/")[-1] for line in err.splitlines() if line.startswith("wrote ")]
    assert wrote == ["leaderboard.md", "leaderboard.csv", "leaderboard.tex", "index.html"]
    page = (tmp_path / "results/index.html").read_text()
    assert page.count("data:image/png;base64,") >= 1
    assert page.count('class="curve c0"') == 2  # the line, and its entry in the key
    assert "logs are not in the cache" not in page


def test_the_report_does_without_data_and_cache(kdbench, runs, tmp_path, monkeypatch):
    monkeypatch.delenv("KDBENCH_KITTI", raising=False)
    code, _, err = kdbench("report")
    assert code == 0 and "no pictures of kd" in err
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "empty"))
    code, _, err = kdbench("report")
    assert code == 0 and "no pictures" not in err
    page = (tmp_path / "results/index.html").read_text()
    assert "data:image/png" not in page and "logs are not in the cache" in page


def test_a_damaged_record_and_a_strange_name_do_not_stop_the_report(kdbench, runs, tmp_path):
    record = made_record(runs["kd"], 40.0)
    record["spec"] = json.loads(json.dumps(record["spec"]).replace('"kd"', '"<b>&_% [red]"'))
    record["hash"] = RunSpec.from_dict(record["spec"]).hash
    path = tmp_path / f"results/kitti/pointpillars-x4/odd/seed0-{record['hash']}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))
    (path.parent / "seed1-0000000000.json").write_text("{")
    nameless = json.dumps(made_record(runs["kd"], float("nan")) | {"hash": record["hash"]})
    (path.parent / "seed2-0000000000.json").write_text(nameless)
    code, out, err = kdbench("report", "--no-pictures")
    assert code == 0
    assert "<b>&_% [red]" in out and "2 files of results were left out" in err
