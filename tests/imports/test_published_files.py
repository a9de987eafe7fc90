"""Files with the widths and settings that are published for KITTI, by what names they have."""

import json

import pytest
import torch

from kdbench.errors import DataError
from kdbench.imports.network import import_network

FULL = {
    "pcdet_pointpillar": "pointpillars",
    "pcdet_second": "second",
    "pcdet_centerpoint": "centerpoint",
    "pcdet_pointrcnn": "pointrcnn",
    "mmdet3d_pointpillars": "pointpillars",
    "mmdet3d_second": "second",
}
# Parameters that kdbench's network has more: of ten values a point it keeps nine; it has no biases
# before norms; it has norms where there are none.
MORE = {"pointpillars": -64, "second": 0, "centerpoint": -64 - 6 * 64, "pointrcnn": 3 * 128}
PARAMETERS = (".weight", ".bias")


def as_published(shared, name, **meta):
    """A file's content with zeros, in published widths."""
    folder = shared / "golden/checkpoints" / name
    keys = json.loads((folder / "keys_published_widths.json").read_text())
    tensors = {
        k: torch.zeros(v["shape"], dtype=getattr(torch, v["dtype"])) for k, v in keys.items()
    }
    place = "model_state" if name.startswith("pcdet") else "state_dict"
    return {place: tensors, "meta": {"mmdet3d_version": "1.0.0rc1", **meta}}


@pytest.mark.parametrize("name", FULL)
def test_a_file_in_published_widths_is_at_ratio_1(name, shared, tmp_path):
    torch.save(as_published(shared, name), tmp_path / "full.pth")
    imported = import_network(tmp_path / "full.pth")
    detector = FULL[name]
    assert (imported.spec.name, imported.spec.ratio) == (detector, 1.0)
    assert "widths" not in imported.spec.options
    assert imported.network.classes == ("Car", "Pedestrian", "Cyclist")
    assert any("taken as" in note for note in imported.settings.notes)
    theirs = sum(v.numel() for k, v in imported.file.tensors.items() if k.endswith(PARAMETERS))
    own = sum(p.numel() for p in imported.network.parameters())
    assert own == theirs + MORE[detector]
    low, high = {"second": (-40, 70.4), "pointrcnn": (-40, 70.4)}.get(detector, (-39.68, 69.12))
    assert imported.network.point_range[1] == low and imported.network.point_range[3] == high


@pytest.mark.parametrize("version", ["0.6.0", "0.18.1+abc"])
def test_files_from_before_mmdetection3d_1_0_are_refused(version, shared, tmp_path):
    content = as_published(shared, "mmdet3d_second", mmdet3d_version=version)
    torch.save(content, tmp_path / "old.pth")
    with pytest.raises(DataError, match="before 1.0 its boxes"):
        import_network(tmp_path / "old.pth")


def test_a_file_without_version_needs_a_word(shared, tmp_path):
    content = as_published(shared, "mmdet3d_second", mmdet3d_version=None)
    torch.save(content, tmp_path / "none.pth")
    with pytest.raises(DataError, match="--format mmdet3d"):
        import_network(tmp_path / "none.pth")
    imported = import_network(tmp_path / "none.pth", format="mmdet3d")
    assert any("does not say its version" in note for note in imported.settings.notes)


@pytest.mark.parametrize(
    ("name", "tensor", "shape", "words"),
    [
        ("pcdet_second", "backbone_3d.conv_input.0.weight", (16, 3, 3, 3, 5), "other sensors"),
        ("mmdet3d_pointpillars", "voxel_encoder.pfn_layers.0.linear.weight", (64, 11), "nuScenes"),
        ("pcdet_centerpoint", "dense_head.heads_list.1.hm.1.bias", (2,), "several groups"),
        (
            "pcdet_pointrcnn",
            "point_head.cls_layers.0.weight",
            (100, 128),
            "width of 256 have several: 100, 256",
        ),
        ("pcdet_pointpillar", "dense_head.conv_cls.weight", (2, 384, 1, 1), "with these classes"),
    ],
)
def test_networks_for_other_data_are_refused_with_the_reason(
    name, tensor, shape, words, shared, tmp_path
):
    content = as_published(shared, name)
    content["model_state" if name.startswith("pcdet") else "state_dict"][tensor] = torch.zeros(
        shape
    )
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(DataError, match=words):
        import_network(tmp_path / "other.pth")
