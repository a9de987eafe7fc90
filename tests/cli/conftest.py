"""Command lines as a person gives them, and a checkpoint of another project, made on the spot."""

from collections import OrderedDict

import pytest
import torch
import yaml

from kdbench.cli import main
from kdbench.registry import detectors
from kdbench.runs.teaching import teacher_named

CLASSES = ("Car", "Pedestrian", "Cyclist")
NORM = ("weight", "bias", "running_mean", "running_var")


@pytest.fixture
def kdbench(capsys, tmp_path, monkeypatch):
    """Runs a command line; gives exit code, standard output and standard error."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    return run


def random_like(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Random tensors in the shapes of a network's, variances above 0."""
    draw = torch.Generator().manual_seed(7)
    state = {k: v.float() for k, v in network.state_dict().items()}
    return {k: torch.rand(v.shape, generator=draw) + 0.1 for k, v in state.items()}


def narrow_pointpillar() -> OrderedDict[str, torch.Tensor]:
    """The tensors of an OpenPCDet PointPillar as narrow as they can be, by their names there."""
    network = detectors.get("pointpillars")(CLASSES, 4096.0)
    own = random_like(network)
    theirs = OrderedDict()

    def norm(name, source):
        for part in NORM:
            theirs[f"{name}.{part}"] = own[f"{source}.{part}"]

    theirs["vfe.pfn_layers.0.linear.weight"] = torch.rand(1, 10)
    norm("vfe.pfn_layers.0.norm", "encoder.norm")
    for stage, blocks in enumerate(network.backbone.stages):
        for k in range(len(blocks)):
            source = f"backbone.stages.{stage}.{k}"
            name = f"backbone_2d.blocks.{stage}."
            theirs[f"{name}{1 + 3 * k}.weight"] = own[f"{source}.0.weight"]
            norm(f"{name}{2 + 3 * k}", f"{source}.1")
        source, name = f"neck.branches.{stage}", f"backbone_2d.deblocks.{stage}"
        theirs[f"{name}.0.weight"] = own[f"{source}.0.weight"]
        norm(f"{name}.1", f"{source}.1")
    for part in ("weight", "bias"):
        outputs = own[f"head.outputs.{part}"].split([18, 42, 12])
        for name, x in zip(("conv_cls", "conv_box", "conv_dir_cls"), outputs, strict=True):
            theirs[f"dense_head.{name}.{part}"] = x
    return theirs


@pytest.fixture
def pcdet_pointpillar():
    return narrow_pointpillar()


@pytest.fixture
def imported(kdbench, pcdet_pointpillar, tmp_path):
    """Imports the small network under a name, over a range that takes no time."""
    torch.save({"model_state": pcdet_pointpillar}, tmp_path / "file.pth")
    config = tmp_path / "small.yaml"

    def make(name="public", **settings):
        values = {"DATA_CONFIG": {"POINT_CLOUD_RANGE": [0, -5.12, -3, 10.24, 5.12, 1]}, **settings}
        config.write_text(yaml.safe_dump(values))
        code, _, err = kdbench("import", "file.pth", "--out", name, "--config", config)
        assert code == 0, err
        return teacher_named(name)

    return make
