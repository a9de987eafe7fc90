"""What is written for OpenPCDet comes back as the same network."""

import json

import pytest
import torch

from kdbench.errors import KdbenchError, UsageError
from kdbench.export import openpcdet
from kdbench.export.pcdet_pillars import pillar_layer
from kdbench.imports.cases import config_of, read_cases, read_inputs
from kdbench.imports.map_arrays import batch_of
from kdbench.imports.network import import_network
from kdbench.imports.pcdet import read_yaml
from kdbench.runs.build import build_detector
from kdbench.runs.settings import build_spec
from kdbench.runs.spec import DetectorSpec

CLASSES = ("Car", "Pedestrian", "Cyclist")
PROJECTS = ["pcdet_pointpillar", "pcdet_second", "pcdet_centerpoint", "pcdet_pointrcnn"]


def wild(network):
    """Norms and outputs far from those at the start, so that everything shows."""
    torch.manual_seed(3)
    for part in network.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(part.weight, -0.5, 1.5)
            torch.nn.init.normal_(part.bias)
            torch.nn.init.normal_(part.running_mean)
            torch.nn.init.uniform_(part.running_var, 0.5, 2)
    return network.eval()


def own(detector, **options):
    overrides = {f"detector.{name}": value for name, value in options.items()}
    spec = build_spec(profile="tiny", detector=detector, ratio=16, overrides=overrides).detector
    torch.manual_seed(0)
    return wild(build_detector(spec, CLASSES)), spec


def again(path):
    return import_network(path, config=read_yaml(openpcdet.yaml_path(path)), origin="again")


@torch.no_grad()
def same_detections(a, b, batch):
    first, second = (net.predict(net(net.prepare(batch)))[0] for net in (a, b))
    assert len(first.scores) == len(second.scores)
    for name in ("boxes", "scores", "labels"):
        assert torch.equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("name", PROJECTS)
def test_an_imported_network_goes_back_to_the_bit(name, shared, tmp_path):
    folder = shared / "golden/checkpoints" / name
    config = config_of(read_inputs(folder), "openpcdet", name)
    imported = import_network(folder / "checkpoint.pth", config=config, origin=name)
    path = tmp_path / "back.pth"
    trip = openpcdet.write(imported.network, imported.spec, name, path)
    assert trip.others == () and trip.difference == 0
    written = torch.load(path, weights_only=True)["model_state"]
    keys = json.loads((folder / "keys.json").read_text())
    shapes = {k: list(v.shape) for k, v in written.items() if k != "global_step"}
    assert shapes == {k: v["shape"] for k, v in keys.items() if k in shapes}
    absent = {k for k in keys if keys[k]["dtype"] == "float32"} - shapes.keys()
    assert all(k.startswith("dense_head") and k.endswith(".0.bias") for k in absent)  # before norms
    found = again(path)
    assert found.spec == imported.spec
    case = next(c for c in read_cases(folder, None)[0] if c.name == "synthetic")
    same_detections(imported.network, found.network, batch_of(case.points))


@pytest.mark.parametrize("detector", ["pointpillars", "second"])
def test_a_network_of_kdbench_goes_there_and_back_to_the_bit(detector, tmp_path):
    network, spec = own(detector)
    path = tmp_path / "student.pth"
    trip = openpcdet.write(network, spec, "mine", path)
    assert trip.others == () and trip.tensors == len(network.state_dict())
    found = again(path)
    form = found.spec.options["anchors"]
    assert (form["at"], form["first_bin"]) == ("centres", network.head.form.first_bin)
    assert found.spec.ratio == 16 and "max_points" not in found.spec.options
    vfe = read_yaml(openpcdet.yaml_path(path))["MODEL"]["VFE"]["NAME"]
    assert vfe == {"pointpillars": "DynPillarVFE", "second": "DynMeanVFE"}[detector]


def test_norms_with_another_epsilon_are_the_same_function(tmp_path):
    network, spec = own("centerpoint")
    trip = openpcdet.write(network, spec, "mine", tmp_path / "student.pth")
    assert all(name.startswith("head.") and "running_var" in name for name in trip.others)
    assert trip.others and trip.difference < 1e-4


def test_a_cap_without_padding_is_made_up_for(tmp_path):
    network, spec = own("pointpillars", max_points=5)
    trip = openpcdet.write(network, spec, "mine", tmp_path / "student.pth")
    moved = {"encoder.floor", "encoder.linear.weight", "encoder.norm.running_mean"}
    assert set(trip.others) <= moved and trip.difference < 1e-4
    found = again(tmp_path / "student.pth").network
    assert found.encoder.padding == 5 and (found.encoder.floor < 1e-5).all()
    assert network.encoder.norm.bias.max() > 1  # without that, floors would be above 0
    assert (pillar_layer(network.encoder, False, -1.0)[0][:, 9] == 0).all()


def test_padding_that_nothing_makes_up_for_is_refused():
    network, _ = own("pointpillars", max_points=5)
    with pytest.raises(UsageError, match="same above and below 0"):
        pillar_layer(network.encoder, True, 0.0)


@pytest.mark.parametrize(
    ("detector", "options", "words"),
    [
        ("pointrcnn", {}, "no pointrcnn with coder='bins', only coder='residuals'"),
        ("centerpoint", {"form": "voxel"}, "with form='voxel', only form='pillar'"),
        ("pointpillars", {"norm_eps": 1e-5}, "with norm_eps=1e-05"),
    ],
)
def test_what_openpcdet_has_nothing_like_leaves_no_file(detector, options, words, tmp_path):
    network, spec = own(detector, **options)
    with pytest.raises(UsageError, match=words):
        openpcdet.write(network, spec, "mine", tmp_path / "student.pth")
    assert not list(tmp_path.iterdir())


def test_what_comes_back_as_something_else_leaves_no_file(tmp_path, monkeypatch):
    network, spec = own("pointpillars")
    monkeypatch.setattr(openpcdet, "LIMIT", -1.0)
    with pytest.raises(KdbenchError, match="comes back as another network"):
        openpcdet.write(network, spec, "mine", tmp_path / "student.pth")
    assert not list(tmp_path.iterdir())
    assert isinstance(spec, DetectorSpec)
