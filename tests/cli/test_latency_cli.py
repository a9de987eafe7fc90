"""`kdbench latency`: what is measured and said; the figures themselves are not tested."""

import json

import pytest
import torch

from kdbench.cli import main
from kdbench.dataset import Dataset
from kdbench.measure import inputs
from kdbench.runs.build import build_detector
from kdbench.runs.records import SCHEMA
from kdbench.runs.settings import build_spec

FEW = ["--frames", "2", "--repeats", "2", "--warmup", "0", "--device", "cpu"]


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["latency", *arguments])
    return stop.value.code


def fails(capsys, *arguments):
    assert run(*arguments) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    return err


@pytest.fixture
def record(tmp_path, monkeypatch):
    """The record of a run, its weights, and a data set of two frames."""

    class Two:
        name, classes = "synthetic", Dataset.classes

        def ids(self, split):
            return ["0", "1"]

        def frame(self, frame_id):
            return int(frame_id)

    spec = build_spec(profile="tiny", ratio=16.0)
    clouds = inputs.generated(spec.detector.options["point_range"], 2, points=99).batches
    network = build_detector(spec.detector, Dataset.classes)
    torch.nn.init.constant_(network.head.outputs.bias, 2.0)  # finds something
    monkeypatch.setattr("kdbench.training.data.build_dataset", lambda spec, root: Two())
    monkeypatch.setattr("kdbench.runs.network.load_recorded", lambda record: network)
    monkeypatch.setattr(inputs, "collate", lambda frames: clouds[frames[0]])
    path = tmp_path / "record.json"
    parts = dict.fromkeys(("metrics", "cost", "latency", "training"), {})
    found = {"schema": SCHEMA, "hash": spec.hash, "spec": spec.to_dict()}
    path.write_text(json.dumps(found | parts))
    return str(path)


def test_random_weights(capsys):
    threads = torch.get_num_threads()
    assert run("--profile", "tiny", "--ratio", "16", *FEW, "--threads", "1", "--json", "-") == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert list(found) == ["detector", "weights", "input", "environment", "latency_ms"]
    assert found["detector"] == "pointpillars at ratio 16, tiny options"
    assert found["weights"] == "random"
    assert found["input"] == "2 generated cloud(s) of 18,000 points"
    assert found["environment"]["threads"] == 1
    assert len(found["latency_ms"]["samples"]) == 4
    assert "random weights find an unrealistic number of boxes" in err
    assert torch.get_num_threads() == threads


def test_table(capsys):
    assert run("--profile", "tiny", "--ratio", "16", *FEW) == 0
    out = capsys.readouterr().out
    assert out.startswith("pointpillars at ratio 16, tiny options, random weights\n")
    for word in ("p50", "p90", "p99", "mean", "voxelise", "network", "postprocess", "4 samples"):
        assert word in out


def test_a_trained_run_brings_its_weights_and_data(capsys, record):
    assert run("--run", record, *FEW, "--json", "-") == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["detector"] == "none pointpillars-x16 seed 0"
    assert found["weights"] == "trained"
    assert found["input"] == "2 val frame(s) of synthetic"
    assert found["latency_ms"]["detections"] > 0
    assert "random" not in err


@pytest.mark.parametrize(("cores", "noted"), [(1.5, True), (0.1, False), (None, False)])
def test_a_disturbed_measurement_is_noted(capsys, record, monkeypatch, cores, noted):
    monkeypatch.setattr("kdbench.measure.latency.Contention.cores", lambda self: cores)
    assert run("--run", record, *FEW) == 0
    assert ("other programs used" in capsys.readouterr().err) is noted


def test_a_fast_version_stands_beside_the_plain_one(capsys, record, monkeypatch):
    maps = iter([{"bev_map": 50.0, "3d_map": 30.0}, {"bev_map": 49.5, "3d_map": 30.25}])
    monkeypatch.setattr("kdbench.training.evaluate.mean_ap", lambda *_: next(maps))
    assert run("--run", record, *FEW, "--half") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "plain, ms" in out and "fused+half, ms" in out
    assert "BEV mAP 50.00 -0.50, 3D mAP 30.00 +0.25" in out
    assert "times as fast" in out


def test_fused_and_stages_are_in_the_json(capsys):
    assert (
        run("--profile", "tiny", "--ratio", "16", *FEW, "--fused", "--stages", "--json", "-") == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["fused"]["options"] == "fused"
    assert found["fused"]["latency_ms"]["difference"] < 1e-4
    assert "map" not in found["fused"]  # random weights
    assert list(found["stages_ms"])[1:5] == ["encoder", "backbone", "neck", "head"]
    assert found["roofline"]["by"] in ("compute", "memory") and found["roofline"]["bound"] > 0


def test_stages_are_printed(capsys):
    assert run("--profile", "tiny", "--ratio", "16", *FEW, "--stages") == 0
    out = capsys.readouterr().out
    assert "median ms: prepare" in out and "a matrix product reaches here" in out


def test_mistakes_are_one_line(capsys, record, tmp_path, monkeypatch):
    assert "leave out --detector" in fails(capsys, "--run", record, "--ratio", "4")
    assert "cannot be read" in fails(capsys, "--run", str(tmp_path / "absent.json"))
    (tmp_path / "other.json").write_text("[1]")
    assert "record schema None" in fails(capsys, "--run", str(tmp_path / "other.json"))
    (tmp_path / "broken.json").write_text("{")
    assert "damaged JSON" in fails(capsys, "--run", str(tmp_path / "broken.json"))
    assert "unknown device 'tpu'" in fails(capsys, "--device", "tpu")
    assert "CUDA graph needs" in fails(capsys, "--profile", "tiny", "--graph", "--device", "cpu")
    assert "repeats must be" in fails(capsys, "--profile", "tiny", "--repeats", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "torch sees no CUDA device" in fails(capsys, "--device", "cuda")
