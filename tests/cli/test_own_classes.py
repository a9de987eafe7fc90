"""A tree of one's own classes, from the first step to the report."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch

from kdbench import load_model
from kdbench.dataset import collate
from kdbench.runs.build import build_detector, classes_of
from kdbench.runs.settings import build_spec
from kdbench.training.data import build_dataset, of_frames

SIZES = {
    "forklift_loaded": (2.4, 1.2, 2.0), "PALLET": (1.2, 0.8, 1.0), "Worker": (0.6, 0.6, 1.8),
    "Cart": (1.5, 0.7, 1.1), "Crate": (1.0, 1.0, 1.0),
}  # fmt: skip
TABLE = """
dataset.classes:
  Forklift: {labels: [forklift_loaded], overlap: 0.7}
  Pallet: {neighbour: Crate, overlap: 0.3}
  Worker:
  Cart: {size: [1.5, 0.7, 1.1], bottom: -1.6}
"""
KEYS = ["cart", "forklift", "pallet", "worker"]
NAMES = [f"Thing{i}" for i in range(10)]


@pytest.fixture
def hall(make_tree, tmp_path):
    """A configuration with four classes, and the options that say where their frames are."""
    config = tmp_path / "hall.yaml"
    config.write_text(TABLE)
    root = make_tree(list(SIZES), SIZES)
    return ["--profile", "tiny", "--dataset", "kitti", "--data-root", root, "--config", config]


@pytest.fixture
def ran(kdbench, hall, tmp_path):
    """The record of a distilled student of four classes."""
    code, _, err = kdbench("run", *hall, "--method", "kd", "--quiet", "--json", "kd.json")
    assert code == 0, err
    return json.loads((tmp_path / "kd.json").read_text())


def test_train_distil_report_and_predict(kdbench, hall, ran, tmp_path):
    assert list(ran["metrics"]["kitti"]) == KEYS
    table = ran["spec"]["dataset"]["options"]["classes"]
    assert table["Forklift"]["size"] == [2.4, 1.2, 2.0]  # by the labels

    fast = ["--set", "method.n=50", "--set", "method.k=4"]
    code, _, err = kdbench("run", *hall, "--method", "pointdistiller", *fast)
    assert code == 0 and "done before" in err  # the teacher and `none`
    assert kdbench("report")[0] == 0
    with (tmp_path / "results/leaderboard.csv").open() as sheet:
        rows = list(csv.DictReader(sheet))
    assert [row["method"] for row in rows][:2] == ["teacher", "none"] and len(rows) == 4
    assert {f"{m}_{key}" for m in ("bev", "3d") for key in KEYS} <= set(rows[0])
    assert "bev_car" not in rows[0]

    path = next((tmp_path / "results").glob(f"kitti/*/kd/*{ran['hash']}.json"))
    code, out, _ = kdbench("predict", path, *hall[4:6], "--json", "-", "--out", "found")
    assert code == 0
    assert json.loads(out)["kitti"] == ran["metrics"]["kitti"]
    code, _, err = kdbench("predict", path, "--dataset", "synthetic", *hall[4:6])
    assert code == 2
    assert "the run detects Cart, Forklift, Pallet, Worker; the data set synthetic is of Car" in err
    code, _, err = kdbench("show", path, *hall[4:6])
    assert code == 0, err

    found = load_model(path).predict(np.zeros((3, 4), np.float32))
    assert set(found.classes) <= {"Cart", "Forklift", "Pallet", "Worker"}


def test_evaluate_takes_the_table_from_a_file(kdbench, make_tree, tmp_path):
    labels = make_tree(list(SIZES), SIZES) / "training/label_2"
    (tmp_path / "found").mkdir()
    for path in labels.iterdir():
        rows = [line for line in path.read_text().splitlines() if not line.startswith("Dont")]
        (tmp_path / "found" / path.name).write_text("".join(f"{row} 0.9\n" for row in rows))
    (tmp_path / "classes.yaml").write_text("Forklift: {labels: [forklift_loaded]}\nPallet:\n")
    folders = ["--labels", labels, "--predictions", tmp_path / "found"]
    code, out, _ = kdbench("evaluate", *folders, "--classes", "classes.yaml", "--json", "-")
    assert code == 0
    result = json.loads(out)
    assert list(result) == ["forklift", "pallet"]
    assert min(by["3d"]["R40"][1] for by in result.values()) > 0
    (tmp_path / "classes.yaml").write_text("Forklift: {size: [1, 2]}\n")
    code, _, err = kdbench("evaluate", *folders, "--classes", "classes.yaml")
    assert code == 2
    assert "error: classes.yaml: Forklift: size must be length, width, height" in err


def test_trees_are_compared_by_their_own_classes(kdbench, make_tree, tmp_path):
    root = make_tree(list(SIZES), SIZES)
    other = shutil.copytree(root, tmp_path / "other")
    for path in (other / "training/label_2").iterdir():
        path.write_text(path.read_text().replace("Worker", "Person"))
    for path in (other / "training/velodyne").iterdir():
        cloud = np.fromfile(path, "<f4").reshape(-1, 4)
        (cloud * np.float32([1, 1, 1, 0.5])).tofile(path)
    table = "dataset.classes={Forklift: {labels: [forklift_loaded]}, Worker: {}}"
    files = ["--json", "found.json", "--plot", "plot.png"]
    code, out, err = kdbench("data", "compare", root, other, "--set", table, *files)
    assert code == 0 and "Forklift" in out
    assert f"warning: {other}: no Worker; labels of no class: PALLET (6), Person (6)" in err
    found = json.loads((tmp_path / "found.json").read_text())
    numbers, alike = found["numbers"], found["overlap"]
    assert numbers["Forklift a frame"] == {"a": 1, "b": 1}
    assert numbers["Worker a frame"] == {"a": 1, "b": 0}
    assert numbers["Forklift fully visible (share)"] == {"a": 1, "b": 1}
    assert numbers["Worker fully visible (share)"] == {"a": 1, "b": None}
    assert not any("Car " in name for name in numbers)
    assert alike["range"] == pytest.approx(1) and alike["reflectance on a Worker"] == 0
    assert 0.3 < alike["reflectance on a Forklift"] < 0.8  # one cloud is twice as bright
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_wrong_table_ends_a_run_before_it_starts(kdbench, hall):
    wrong = ["--set", "dataset.classes={Forklift: {overlap: 2}}"]
    code, out, err = kdbench("run", *hall, *wrong)
    assert (code, out) == (2, "")
    assert "error: dataset.classes: Forklift: overlap must be a number between 0 and 1" in err


@pytest.mark.parametrize("detector", ["pointpillars", "second", "pointrcnn", "centerpoint"])
@pytest.mark.parametrize("names", [NAMES[:1], NAMES[:4], NAMES], ids=len)
def test_every_detector_learns_any_number_of_classes(make_tree, detector, names):
    root = make_tree(names, dict.fromkeys(names, (1.2, 0.8, 1.4)))
    table = {name: {} for name in names}
    spec = build_spec(
        profile="tiny", dataset="kitti", detector=detector, ratio=16.0,
        overrides={"dataset.classes": table},
    )  # fmt: skip
    dataset = build_dataset(spec, str(root))
    spec = of_frames(spec, dataset)
    network = build_detector(spec.detector, classes_of(spec.dataset)).train()
    assert network.classes == tuple(sorted(names))
    batch = collate([dataset.frame(i) for i in dataset.ids("train")])
    taps = network(network.prepare(batch))
    assert taps["head.cls"].shape[-1] == len(names)
    losses = network.loss(taps, batch)
    sum(losses.values()).backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert any(gradient.any() for gradient in gradients)
