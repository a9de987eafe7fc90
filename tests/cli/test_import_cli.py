"""`kdbench import`: what it keeps, and one clear line for each thing that is wrong."""

import json

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from kdbench.imports import pcdet


@pytest.fixture
def file(tmp_path, pcdet_pointpillar):
    return save(tmp_path / "file.pth", pcdet_pointpillar)


def save(path, tensors, **others):
    torch.save({"model_state": tensors, "version": "pcdet+0.6.0", **others}, path)
    return path


def kept(tmp_path):
    folder = tmp_path / "home/imported"
    names = sorted(p.name for p in folder.iterdir()) if folder.exists() else []
    return [name for name in names if name != ".lock"]


def test_a_network_is_kept_with_its_description(kdbench, file, tmp_path):
    code, out, err = kdbench("import", file, "--out", "mine", "--json", "-")
    assert code == 0, err
    assert "pointpillars of openpcdet, ratio 4096" in err
    assert "no settings given: taken as OpenPCDet's pointpillars for KITTI as published" in err
    folder = tmp_path / "home/imported/mine"
    description = json.loads((folder / "network.json").read_text())
    assert description["detector"]["options"]["padding"] == 32
    assert description["classes"] == ["Car", "Pedestrian", "Cyclist"]
    assert description["file"]["format"] == "openpcdet"
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    assert tensors["encoder.linear.weight"].shape == (1, 9) and "encoder.floor" in tensors
    assert json.loads(out)["detector"] == description["detector"]
    assert kept(tmp_path) == ["mine"]


def test_a_taken_name_is_refused_unless_by_force(kdbench, file, tmp_path):
    assert kdbench("import", file, "--out", "mine")[0] == 0
    code, _, err = kdbench("import", file, "--out", "mine")
    assert code == 2 and "--force replaces it" in err
    assert (
        kdbench("import", file, "--out", "mine", "--force", "--set", "detector.padding=0")[0] == 0
    )
    text = (tmp_path / "home/imported/mine/network.json").read_text()
    assert "padding" not in json.loads(text)["detector"]["options"]
    assert kept(tmp_path) == ["mine"]


@pytest.mark.parametrize("name", ["../mine", "a/b", ".hidden", ""])
def test_a_name_is_a_name(kdbench, file, name):
    code, _, err = kdbench("import", file, "--out", name)
    assert code == 2 and "a name has letters" in err


def test_other_widths_than_of_a_ratio_are_told_by_the_file(kdbench, tmp_path, pcdet_pointpillar):
    wider = dict(pcdet_pointpillar)
    wider["vfe.pfn_layers.0.linear.weight"] = torch.rand(3, 10)
    for name in ("weight", "bias", "running_mean", "running_var"):
        wider[f"vfe.pfn_layers.0.norm.{name}"] = torch.rand(3)
    inputs = wider["backbone_2d.blocks.0.1.weight"]
    wider["backbone_2d.blocks.0.1.weight"] = torch.rand(len(inputs), 3, 3, 3)
    file = save(tmp_path / "wider.pth", wider)
    code, out, err = kdbench("import", file, "--out", "wider", "--json", "-")
    assert code == 0 and "own widths" in err
    found = json.loads(out)["detector"]
    assert found["ratio"] == 1 and found["options"]["widths"] == [3, 1, 2, 4, 2, 2, 2]


def test_settings_come_from_a_yaml_file_over_its_base(kdbench, file, tmp_path):
    base = {"POINT_CLOUD_RANGE": [0, -20.48, -3, 40.96, 20.48, 1]}
    (tmp_path / "cfgs").mkdir()
    (tmp_path / "cfgs/kitti.yaml").write_text(yaml.safe_dump(base))
    values = {
        "DATA_CONFIG": {"_BASE_CONFIG_": "cfgs/kitti.yaml"},
        "MODEL": {"NAME": "PointPillar", "DENSE_HEAD": {"DIR_OFFSET": 0.5}},
    }
    config = tmp_path / "cfgs/mine.yaml"
    config.write_text(yaml.safe_dump(values))
    code, out, err = kdbench("import", file, "--out", "mine", "--config", config, "--json", "-")
    assert code == 0 and "no settings given" not in err
    options = json.loads(out)["detector"]["options"]
    assert options["point_range"] == base["POINT_CLOUD_RANGE"]
    assert options["anchors"]["first_bin"] == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda t: t.pop("dense_head.conv_box.bias"),
            "lacks dense_head.conv_box.bias (the nearest",
        ),
        (lambda t: t.update({"dense_head.conv_cls.bias": torch.zeros(2)}), "expected (18,)"),
        (lambda t: t.update({"roi_head.extra.weight": torch.zeros(2)}), "roi_head.extra.weight"),
        (lambda t: t.update({"vfe.pfn_layers.1.linear.weight": torch.zeros(2)}), "two layers"),
        (
            lambda t: t.update({"vfe.pfn_layers.0.linear.weight": torch.zeros(1, 11)}),
            "11 values a point",
        ),
    ],
)
def test_every_tensor_has_its_place(kdbench, tmp_path, pcdet_pointpillar, change, words):
    change(pcdet_pointpillar)
    file = save(tmp_path / "changed.pth", pcdet_pointpillar)
    code, _, err = kdbench("import", file, "--out", "mine")
    assert (code, err.count("error:"), kept(tmp_path)) == (4, 1, [])
    assert words in err and str(file) in err


def test_a_yaml_file_is_for_openpcdet_alone(kdbench, tmp_path):
    file, config = tmp_path / "a.pth", tmp_path / "a.yaml"
    torch.save({"state_dict": {"bbox_head.conv_cls.bias": torch.zeros(2)}}, file)
    config.write_text("MODEL: {}")
    code, _, err = kdbench("import", file, "--out", "mine", "--config", config)
    assert code == 2 and "is for OpenPCDet" in err


def test_counters_without_use_are_named(kdbench, tmp_path, pcdet_pointpillar):
    pcdet_pointpillar |= {"global_step": torch.tensor([3]), "names": ["a"]}
    code, _, err = kdbench("import", save(tmp_path / "a.pth", pcdet_pointpillar), "--out", "mine")
    assert code == 0 and "not used: global_step, names" in err


class Thing:
    """What a file must not be able to make."""


def test_nothing_is_unpickled(kdbench, tmp_path, pcdet_pointpillar):
    file = save(tmp_path / "a.pth", pcdet_pointpillar, hub=Thing())
    code, _, err = kdbench("import", file, "--out", "mine")
    assert code == 4 and "only unpickling could load" in err and "torch.save" in err
    assert err.count("\n") == 1 and kept(tmp_path) == []


def test_damaged_and_foreign_files_are_told(kdbench, file, tmp_path):
    cut, text = tmp_path / "cut.pth", tmp_path / "text.pth"
    cut.write_bytes(file.read_bytes()[:2000])
    text.write_text("hello")
    other = tmp_path / "other.pth"
    torch.save({"state_dict": {"layer1.weight": torch.zeros(2)}}, other)
    for path, words in (
        (cut, "damaged"), (text, "damaged"), (other, "no tensor is named as theirs are"),
        (tmp_path / "none.pth", "no such file"), (tmp_path, "no such file"),
    ):  # fmt: skip
        code, _, err = kdbench("import", path, "--out", "mine")
        assert code == 4 and words in err and err.count("\n") == 1
    assert kept(tmp_path) == []


def test_wrong_names_and_settings_are_told(kdbench, file, tmp_path):
    wrong = {"CLASS_NAMES": ["Car", "Truck", "Cyclist"]}
    classes = tmp_path / "classes.yaml"
    classes.write_text(yaml.safe_dump(wrong))
    network = tmp_path / "network.yaml"
    network.write_text(yaml.safe_dump({"MODEL": {"NAME": "PVRCNN"}}))
    empty = tmp_path / "empty.yaml"
    empty.write_text("MODEL:\nCLASS_NAMES: 3\n")
    for arguments, words in (
        (["--format", "pcdet"], "did you mean 'openpcdet'"),
        (["--detector", "pointpillar"], "did you mean 'pointpillars'"),
        (["--set", "detector.paddings=3"], "did you mean 'padding'"),
        (["--set", "train.steps=3"], "only detector.<option>"),
        (["--config", classes], "unknown class 'Truck'"),
        (["--config", network], "is of PVRCNN, not of PointPillar"),
        (["--config", tmp_path / "none.yaml"], "cannot be read"),
        (["--config", empty], "no configuration of pointpillars"),
    ):
        code, _, err = kdbench("import", file, "--out", "mine", *arguments)
        assert code == 2 and words in err, (arguments, err)
    assert kept(tmp_path) == []


def test_a_place_that_cannot_be_written_is_told(kdbench, file, tmp_path):
    (tmp_path / "home").write_text("a file where a folder should be")
    code, _, err = kdbench("import", file, "--out", "mine")
    assert code == 1 and "cannot be written" in err


def test_detections_of_a_project_are_looked_up(kdbench, file, tmp_path):
    config = tmp_path / "small.yaml"
    small = [0, -2.56, -3, 5.12, 2.56, 1]
    config.write_text(yaml.safe_dump({"DATA_CONFIG": {"POINT_CLOUD_RANGE": small}}))
    points = np.random.default_rng(0).uniform(small[:3], small[3:], (50, 3))
    points = np.column_stack([points, np.zeros(50)]).astype(np.float32)
    case = tmp_path / "case.npz"
    wrong = {"boxes": np.ones((1, 7), np.float32), "scores": np.ones(1), "labels": np.ones(1)}
    np.savez(case, points=points, **wrong)
    arguments = ["import", file, "--out", "mine", "--config", config, "--check", case]
    code, out, err = kdbench(*arguments)
    assert code == 1 and "its project computes something else" in err and kept(tmp_path) == []
    assert "case  boxes" in out and "DIFFERS" in out
    np.savez(case, points=points, boxes=wrong["boxes"])
    code, _, err = kdbench(*arguments)
    assert code == 4 and "lacks the array 'scores'" in err


def test_published_settings_are_those_of_kitti():
    options = pcdet.settings("pointpillars", None, "published").options
    assert options["pillar_size"] == 0.16 and options["max_points"] == options["padding"] == 32
    assert options["anchors"]["headings"] == [0.0, 1.57] and options["anchors"]["at"] == "ends"
