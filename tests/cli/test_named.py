"""NAME of an imported network wherever RECORD of a run is taken."""

import json
from pathlib import Path

import numpy as np
import pytest

import kdbench as package

KITTI = ["--dataset", "kitti", "--data-root", "kitti"]


@pytest.fixture(autouse=True)
def public(imported, kitti_tree):
    return imported()


def test_it_detects_and_is_scored(kdbench):
    code, out, err = kdbench("predict", "public", *KITTI, "--out", "found", "--json", "-")
    assert code == 0, err
    assert json.loads(out)["frames"] == 2 == len(list(Path("found").iterdir()))
    model = package.load_model("public")
    assert model.record is None and model.classes == ("Car", "Pedestrian", "Cyclist")
    assert model.taps(np.zeros((0, 4)))["head.box"].shape == (1, 32, 32, 6, 7)


def test_cost_and_latency_are_of_its_own_network(kdbench):
    few = ["--frames", "1", "--json", "-"]
    code, out, _ = kdbench("cost", "--run", "public", *few)
    found = json.loads(out)
    assert code == 0 and found["ratio"]["declared"] == 4096.0 and "generated" in found["input"]
    code, out, err = kdbench(
        "latency", "--run", "public", *KITTI, *few, "--repeats", "1", "--warmup", "0"
    )
    found = json.loads(out)
    assert code == 0 and "random weights" not in err
    assert (found["detector"], found["weights"]) == ("public (imported)", "trained")
    assert "kitti" in found["input"]


def test_its_graph_says_where_it_is_from(kdbench):
    code, out, err = kdbench("export", "public", *KITTI, "--format", "pt2", "--out", "m.pt2")
    assert code == 0, err
    card = json.loads(Path("m.pt2.json").read_text())
    assert card["imported"] == "public" and card["file"]["format"] == "openpcdet"
    assert card["max_points"] == 32 and "run" not in card and card["weights_sha256"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "publik"], "did you mean 'public'"),
        (["predict", "public"], "public: imported, so it has no data set of its own: give"),
        (["export", "public", "--format", "pt2", "--out", "m.pt2"], "give --dataset"),
        (["latency", "--run", "publik"], "unknown published run or imported network 'publik'"),
        (["latency", "--run", "public", "--ratio", "4"], "leave out --detector"),
        (["cost", "--run", "public", "--data-root", "kitti"], "--data-root needs --dataset"),
        (["cost", "--run", "gone.json"], "gone.json: cannot be read"),
    ],
)
def test_mistakes_get_one_line(kdbench, arguments, words):
    code, out, err = kdbench(*arguments)
    assert code in (1, 2) and out == "" and words in err and "Traceback" not in err
    assert not Path("m.pt2").exists()


def test_it_goes_back_to_openpcdet(kdbench):
    command = ["export", "public", "--format", "openpcdet", "--out", "out/back.pth"]
    code, _, err = kdbench(*command)
    assert code == 0 and "wrote out/back.yaml" in err and "equal to the bit" in err
    assert sorted(p.name for p in Path("out").iterdir()) == ["back.pth", "back.yaml"]
    code, _, err = kdbench("import", "out/back.pth", "--out", "twice", "--config", "out/back.yaml")
    assert code == 0
    first, second = (
        json.loads(Path(f"home/imported/{name}/network.json").read_text())
        for name in ("public", "twice")
    )
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["detector"] == second["detector"]
    Path("file").write_text("")
    for options, words in (
        (["--opset", "18", "--out", "x.pth"], "takes no --opset"),
        (["--out", "file/x.pth"], "cannot be written"),
        (["--out", "out"], "give the file to write"),
        (["--out", "x.yaml"], "give the file to write"),
    ):
        code, _, err = kdbench(*command[:-2], *options)
        assert code in (1, 2) and words in err and "Traceback" not in err
    assert not list(Path().glob("x.*"))
