"""What the projects' own code computed from random weights, and what an import makes of them."""

import numpy as np
import pytest
import torch

from kdbench.imports.cases import config_of, read_cases, read_inputs
from kdbench.imports.check import check_case, failures
from kdbench.imports.compare import compare, sampled
from kdbench.imports.map_arrays import batch_of, map_arrays
from kdbench.imports.network import import_network

DETECTIONS = {"boxes": "boxes", "scores": "score", "labels": "label"}
CASES = {
    "pcdet_pointpillar": {"neck", "cls", "box", "dir", "voxel_features", "top_boxes"},
    "mmdet3d_pointpillars": {"neck", "cls", "box", "dir", "voxel_features", "top_boxes"},
    "pcdet_second": {"bev", "neck", "cls", "box", "dir", "voxel_features", "top_boxes"},
    "mmdet3d_second": {"bev", "neck", "cls", "box", "dir", "voxel_features", "top_boxes"},
    "pcdet_pointrcnn": {"point_features", "point_cls", "roi_shared", "roi_boxes", "sampled3"},
    "pcdet_centerpoint": {"neck", "hm", "center", "center_z", "dim", "rot", "top_boxes"},
}


def imported(folder, path=None, **options):
    project = "openpcdet" if folder.name.startswith("pcdet") else "mmdet3d"
    config = config_of(read_inputs(folder), project, folder.name)
    return import_network(
        path or folder / "checkpoint.pth", config=config, origin=folder.name, options=options
    )


def rows_of(network, folder, shared):
    cases, _ = read_cases(folder, shared / "kitti")
    return [row for case in cases for row in check_case(network, case)]


@pytest.mark.parametrize("name", CASES)
def test_an_imported_network_computes_what_its_project_does(name, shared):
    folder = shared / "golden/checkpoints" / name
    rows = rows_of(imported(folder), folder, shared)
    assert failures(rows) == ""
    assert len({row.case for row in rows}) == (4 if name == "pcdet_centerpoint" else 2)
    assert {row.array for row in rows} >= CASES[name]


@pytest.mark.parametrize(
    ("options", "array"),
    [
        ({"padding": 0}, "neck"),
        ({"anchors": {}}, "decoded_anchors"),
        ({"anchors": {"at": "ends", "headings": [0, 1.57], "clamped": False}}, "top_boxes"),
    ],
)
def test_each_convention_shows(options, array, shared):
    folder = shared / "golden/checkpoints/pcdet_pointpillar"
    rows = rows_of(imported(folder, **options), folder, shared)
    assert array in {row.array for row in rows if not row.ok}


def test_a_file_of_mmdetection3d_says_its_settings_itself(shared):
    folder = shared / "golden/checkpoints/mmdet3d_pointpillars"
    alone = import_network(folder / "checkpoint.pth")
    assert alone.spec == imported(folder).spec
    assert alone.settings.legacy and alone.settings.classes == ("Pedestrian", "Cyclist", "Car")


@pytest.mark.parametrize("name", ["pcdet_second", "mmdet3d_second"])
@pytest.mark.parametrize("axes", [None, (1, 2, 3, 0, 4)], ids=["spconv 1", "first of spconv 2"])
def test_older_kernels_of_sparse_convolutions_are_told_by_their_shapes(
    name, axes, shared, tmp_path
):
    folder = shared / "golden/checkpoints" / name
    content = torch.load(folder / "checkpoint.pth", weights_only=True)
    place = "model_state" if name.startswith("pcdet") else "state_dict"
    tensors = content[place]
    older = torch.load(folder / "sparse_kernels_spconv1.pth", weights_only=True)[place]
    assert set(older) < set(tensors)
    changed = {k: tensors[k].permute(axes) for k in older} if axes else older
    tensors.update(changed)
    torch.save(content, tmp_path / "older.pth")
    expected, found = (
        imported(folder, path).network.state_dict()
        for path in (folder / "checkpoint.pth", tmp_path / "older.pth")
    )
    assert all(torch.equal(expected[k], found[k]) for k in expected)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"pcdet_pointrcnn"}))
def test_detections_of_a_user_pass_too(name, shared, tmp_path):
    folder = shared / "golden/checkpoints" / name
    with np.load(folder / "synthetic.npz") as file:
        found = {new: file[f"top_{old}"] for new, old in DETECTIONS.items()}
        found["points"] = file["points"]
    found["labels"] = found["labels"] + name.startswith("pcdet")  # OpenPCDet counts from 1
    np.savez(tmp_path / "mine.npz", **found)
    network = imported(folder)
    (case,) = read_cases(tmp_path / "mine.npz", None)[0]
    rows = check_case(network, case)
    assert [row.array for row in rows] == ["boxes", "scores", "labels"] and failures(rows) == ""
    found["boxes"][0, 6] += 1e-3
    np.savez(tmp_path / "mine.npz", **found)
    (case,) = read_cases(tmp_path / "mine.npz", None)[0]
    assert "boxes" in failures(check_case(network, case))


@torch.no_grad()
def test_a_network_that_is_compared_in_float64_is_as_good_in_float32(shared):
    folder = shared / "golden/checkpoints/pcdet_centerpoint"
    network = imported(folder)
    case = read_cases(folder, shared / "kitti")[0][0]
    found, _ = map_arrays(network.network, batch_of(case.points))
    assert found["neck"].values.dtype == np.float32
    for name in ("neck", "stage2", "voxel_features"):
        row = compare("case", name, case.arrays[name], sampled(name, found[name], case.arrays))
        assert row.ok, row
