"""`--teacher NAME`: a student learns from a network that was imported."""

import json
from pathlib import Path

import pytest
import torch

from kdbench.runs.imported import folder
from kdbench.runs.inheritance import inherited
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import RunSpec

SMALL = [0, -5.12, -3, 10.24, 5.12, 1]  # of `imported`


@pytest.fixture
def tiny(kitti_tree):
    return ["--profile", "tiny", "--dataset", "kitti", "--data-root", kitti_tree]


def records():
    found = [json.loads(p.read_text()) for p in Path("results").rglob("seed*.json")]
    return {r["spec"]["method"]["name"] + r["spec"]["device"]: r for r in found}


def test_a_student_learns_from_an_imported_network(kdbench, imported, tiny):
    teacher = imported()
    options = ["--teacher", "public", "--method", "kd", "--set", "train.steps=2", "--json", "-"]
    code, out, err = kdbench("run", *tiny, *options)
    assert code == 0, err
    found = records()
    scored, none, student = found["noneany"], found["nonecpu"], found["kdcpu"]
    assert scored["weights_sha256"] == student["teacher_weights"] == teacher.weights
    assert student["teacher"] == scored["hash"] and json.loads(out)["hash"] == student["hash"]
    assert scored["spec"]["train"]["steps"] == 0 and "ratio" in student["spec"]["teacher"]
    assert scored["training"]["imported"]["file"]["name"] == "file.pth"
    for record in (none, student):
        own = record["spec"]["detector"]["options"]
        assert own["point_range"] == SMALL and own["anchors"]["at"] == "ends"
        assert own["max_points"] == 32 and "padding" not in own and "widths" not in own
    code, out, _ = kdbench("report", "--json", "rows.json")
    rows = json.loads(Path("rows.json").read_text())
    assert code == 0 and [row["label"] for row in rows] == ["teacher", "none", "kd (bce)"]
    code, _, err = kdbench("run", *tiny, *options)  # nothing is done again
    assert code == 0 and err.count("done before") == 3


def test_it_is_known_by_its_weights_whatever_its_name(kdbench, imported, tiny):
    imported()
    code, _, err = kdbench(
        "run", *tiny, "--teacher", "public", "--method", "kd", "--set", "train.steps=1"
    )
    assert code == 0, err
    path = next(Path("results").rglob("kd/seed*.json"))
    same = ["run", "--spec", path, "--data-root", tiny[-1], "--results", "again"]
    folder("public").rename(folder("other"))
    for file in Path("home/runs").rglob("*.safetensors"):
        file.unlink()
    assert kdbench(*same)[0] == 0
    again = next(Path("again").rglob("kd/seed*.json"))
    first, second = (json.loads(p.read_text()) for p in (path, again))
    assert first["weights_sha256"] == second["weights_sha256"]
    folder("other").rename(Path("gone"))
    for file in Path("home/runs").rglob("*.safetensors"):
        file.unlink()
    code, _, err = kdbench(*same, "--force")
    assert code == 4 and "no network in" in err and "`kdbench import` brings it in" in err


def test_a_sweep_scores_the_teacher_once(kdbench, imported, tiny):
    imported()
    options = ["--teacher", "public", "--methods", "kd,fitnet,self", "--seeds", "1", "--plan"]
    code, _, err = kdbench("sweep", *tiny, *options, "--json", "cells.json")
    assert code == 0, err
    cells = json.loads(Path("cells.json").read_text())
    assert [cell["label"].split()[0] for cell in cells].count("teacher") == 1
    Path("sweep.yaml").write_text("methods: [kd]\nteacher: publik\n")
    code, _, err = kdbench("sweep", "sweep.yaml", *tiny, "--plan")
    assert code == 2 and "did you mean 'public'" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--teacher", "publik"], "unknown imported network 'publik'; did you mean 'public'"),
        (
            ["--teacher", "public", "--detector", "second"],
            "of pointpillars, not of second",
        ),
        (["--teacher", "cars"], "it knows the classes Car; those of the data set 'kitti' are Car,"),
        (["--teacher", "public", "--set", "detector.pillar_size=0.32"], "leave it out"),
        (["--teacher", "public", "--set", "detector.padding=32"], "detector.padding is 32, but a"),
        (["--teacher", "public", "--set", "teacher.steps=9"], "is not trained; leave it out"),
        (["--teacher", "public", "--train-teacher"], "an imported teacher is not trained"),
        (["--teacher", "public", "--method", "none", "--set", "detector.max_points=0"], "has 32"),
    ],
)
def test_mistakes_get_one_line(kdbench, imported, tiny, pcdet_pointpillar, arguments, words):
    imported()
    if "cars" in arguments:
        for part in ("weight", "bias"):
            for name, size in (("conv_cls", 2), ("conv_box", 14), ("conv_dir_cls", 4)):
                key = f"dense_head.{name}.{part}"
                pcdet_pointpillar[key] = pcdet_pointpillar[key][:size]
        torch.save({"model_state": pcdet_pointpillar}, "file.pth")
        imported("cars", CLASS_NAMES=["Car"])
    code, out, err = kdbench("run", *tiny, *arguments)
    assert code == 2 and words in err and "Traceback" not in err and out == ""
    assert not list(Path("results").rglob("*.json"))


def test_a_damaged_import_is_named(kdbench, imported, tiny):
    imported()
    (folder("public") / "model.safetensors").write_bytes(b"short")
    code, _, err = kdbench("run", *tiny, "--teacher", "public", "--method", "kd")
    assert code == 4 and "model.safetensors: cannot be used as weights" in err


def test_no_hash_moves_and_one_survives_a_trip(imported):
    teacher = imported()
    spec = build_spec(profile="tiny", dataset="kitti", method="kd", ratio=4, teacher=teacher)
    assert RunSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    run = spec.teacher_run()
    assert run.weights == teacher.weights and run.detector == teacher.network
    assert RunSpec.from_dict(run.to_dict()) == run and run.teacher_run() is None
    plain = build_spec(profile="tiny", method="kd", ratio=4).to_dict()
    assert "weights" not in plain and not {"ratio", "classes"} & plain["teacher"].keys()


def test_a_handmade_spec_must_fit_its_teacher(kdbench, imported, tiny):
    teacher = imported()
    spec = build_spec(profile="tiny", dataset="kitti", method="kd", ratio=4, teacher=teacher)
    for change, words in (
        ({"anchors": inherited(teacher)["anchors"] | {"first_bin": 0.0}}, "detector.anchors is"),
        ({"max_points": 0}, "detector.max_points is 0"),
    ):
        values = spec.to_dict()
        values["detector"]["options"] |= change
        Path("spec.json").write_text(json.dumps(values))
        code, _, err = kdbench("run", "--spec", "spec.json", *tiny[-2:])
        assert code == 2 and words in err
    values = spec.teacher_run().to_dict() | {"device": "cpu"}
    Path("spec.json").write_text(json.dumps(values))
    code, _, err = kdbench("run", "--spec", "spec.json", *tiny[-2:])
    assert code == 2 and "weights: only an imported teacher has them" in err


# A teacher of another detector


def test_a_teacher_of_another_detector_has_a_table_of_its_own(kdbench, tiny):
    teaching = ["--method", "kd", "--teacher-detector", "second"]
    steps = ["--set", "train.steps=2", "--set", "teacher.steps=2"]
    for own in (teaching, teaching[:2]):
        code, _, err = kdbench("run", *tiny, *own, *steps)
        assert code == 0, err
    code, _, _ = kdbench("report", "--json", "rows.json", "--out", "out")
    rows = json.loads(Path("rows.json").read_text())
    assert code == 0 and [row["label"] for row in rows] == ["teacher", "none", "kd (bce)"] * 2
    assert "2 steps, cpu, taught by second" in Path("out/leaderboard.md").read_text()
    assert "--teacher-detector second" in Path("out/index.html").read_text()
    named = [path.parent.parent.name for path in Path("results").rglob("*.json")]
    assert named.count("second-x1") == named.count("pointpillars-x1") == 1


def test_what_a_teacher_of_another_detector_cannot_teach_is_told_before_it_is_trained(
    kdbench, tiny, imported
):
    for arguments, words in (
        (["--method", "pointdistiller"], "voxel (rows) of pointpillars has no partner there"),
        (["--teacher-detector", "secund"], "did you mean 'second'"),
    ):
        code, _, err = kdbench("run", *tiny, "--teacher-detector", "second", *arguments)
        assert code != 0 and words in err and "Traceback" not in err
    assert not list(Path("results").rglob("*.json"))


def test_an_imported_network_teaches_students_of_another_detector(kdbench, tiny, imported):
    imported()
    code, _, err = kdbench(
        "run", *tiny, "--teacher", "public", "--teacher-detector", "pointpillars",
        "--detector", "second", "--method", "fitnet", "--set", "train.steps=2",
    )  # fmt: skip
    assert code == 0, err
    found = records()
    assert found["fitnetcpu"]["teacher"] == found["noneany"]["hash"]
    assert "max_points" not in found["fitnetcpu"]["spec"]["detector"]["options"]
