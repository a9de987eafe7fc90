"""`kdbench export`: the file detects as its detector does, or there is no file."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kdbench.dataset import unlabelled
from kdbench.export import onnx_file, parity, smaller
from kdbench.export.export import FORMATS
from kdbench.runs import store
from kdbench.runs.build import build_detector
from kdbench.runs.records import write_record
from kdbench.runs.settings import build_spec

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples"
CLASSES = ("Car", "Pedestrian", "Cyclist")
POINTS = "kitti/training/velodyne/000002.bin"


def network(detector="pointpillars", **options):
    """A spec, and its network with weights as wild as trained ones, so that it detects."""
    overrides = {f"detector.{name}": value for name, value in options.items()}
    spec = build_spec(
        profile="tiny", dataset="kitti", detector=detector, ratio=16, overrides=overrides
    )
    torch.manual_seed(0)
    made = build_detector(spec.detector, CLASSES).eval()
    for part in made.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.normal_(part.bias)
            torch.nn.init.normal_(part.running_mean)
            torch.nn.init.uniform_(part.running_var, 0.5, 2)
    for part in made.modules():  # those of the head, whose scores would else be 0.01
        if isinstance(part, torch.nn.Conv2d) and part.bias is not None:
            torch.nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
            torch.nn.init.constant_(part.bias, -1.0)
    return spec, made


@pytest.fixture
def recorded(kdbench, kitti_tree, tmp_path):
    """Makes the record and the weights of a network, as a run leaves them; gives its path."""

    def make(*args, **options):
        spec, made = network(*args, **options)
        store.save_weights(spec, made)
        record = dict.fromkeys(("cost", "latency", "training"), {}) | {
            "schema": 2, "hash": spec.hash, "spec": spec.to_dict(),
            "metrics": {"bev_map": 1.5, "3d_map": 0.5, "frames": 2},
            "weights_sha256": store.stated_checksum(store.weights_path(spec)),
        }  # fmt: skip
        return write_record(tmp_path / "results", record)

    return make


def exported(kdbench, path, *options):
    """Exit code and the last line of standard error."""
    arguments = ["export", path, "--data-root", "kitti", *options]
    code, out, err = kdbench(*arguments)
    assert "Traceback" not in err
    return code, out, err.strip().splitlines()[-1]


def needs_onnx():
    for name in onnx_file.PACKAGES:
        pytest.importorskip(name)


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
@pytest.mark.parametrize("detector", ["pointpillars", "centerpoint"])
def test_the_file_computes_what_the_detector_does(kdbench, recorded, tmp_path, kind, detector):
    if kind == "onnx":
        needs_onnx()
    options = ["--format", kind, "--out", f"out/model.{kind}"]
    code, out, line = exported(kdbench, recorded(detector), *options)
    assert (code, line) == (0, f"wrote out/model.{kind}.json")
    assert "BEV mAP" in out and "output box, largest" in out
    assert sorted(p.name for p in Path("out").iterdir()) == [f"model.{kind}", f"model.{kind}.json"]
    card = json.loads(Path(f"out/model.{kind}.json").read_text())
    assert card["classes"] == list(CLASSES) and card["grid"] == [32, 32]
    assert card["metrics"] == {"bev_map": 1.5, "3d_map": 0.5, "frames": 2}
    assert card["parity"]["frames"] == 2 and max(card["parity"]["difference"].values()) < 1e-3
    spec, made = network(detector)
    assert card["hash"] == spec.hash
    program = FORMATS[kind].Program(Path(f"out/model.{kind}"))
    found = program({"points": torch.zeros(0, 9), "cell": torch.zeros(0, dtype=torch.long)})
    with torch.no_grad():
        nothing = made(made.prepare(unlabelled(np.zeros((0, 4)))))
    for name, output in zip(card["outputs"], found, strict=True):
        torch.testing.assert_close(output, nothing[f"head.{name}"], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("detector", "options", "operator"),
    [
        ("second", {}, "sparse 3D convolutions"),
        ("centerpoint", {"form": "voxel"}, "sparse 3D convolutions"),
        ("pointrcnn", {}, "RoI point pooling"),
    ],
)
def test_what_cannot_be_exported_names_the_operator(kdbench, recorded, detector, options, operator):
    path = recorded(detector, **options)
    code, _, line = exported(kdbench, path, "--format", "pt2", "--out", "model.pt2")
    assert code == 2 and operator in line and detector in line
    assert not list(Path().glob("*model*"))


def test_mistakes_get_one_line(kdbench, recorded, tmp_path, monkeypatch):
    path = recorded()
    (tmp_path / "file").write_text("")
    for options, message in (
        (["--format", "onyx", "--out", "x"], "did you mean 'onnx'"),
        (["--opset", "17", "--out", "x"], "--opset 17: it must be from 18"),
        (["--format", "pt2", "--opset", "18", "--out", "x"], "--opset is for --format onnx"),
        (["--format", "pt2", "--out", "kitti"], "kitti: a folder"),
        (["--format", "pt2", "--out", "file/x"], "file/x: cannot be written"),
    ):
        code, out, line = exported(kdbench, path, *options)
        assert code in (1, 2) and out == ""
        assert line.startswith("error: ") and message in line
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    _, _, line = exported(kdbench, path, "--out", "x")
    assert "needs onnx, onnxscript, onnxruntime: pip install 'kdbench[export]'" in line
    assert not Path("x").exists()


def test_smaller_forms_stand_beside_the_file(kdbench, recorded):
    needs_onnx()
    options = ["--half", "--int8", "--out", "out/model.onnx", "--json", "forms.json"]
    code, out, line = exported(kdbench, recorded(), *options)
    assert (code, line) == (0, "wrote out/model.int8.onnx.json") and "speed-up" in out
    names = ["model.onnx", "model.half.onnx", "model.int8.onnx"]
    found = sorted(p.name for p in Path("out").iterdir())
    assert found == sorted([*names, *(f"{name}.json" for name in names)])
    forms = json.loads(Path("forms.json").read_text())["forms"]
    assert [form["precision"] for form in forms] == ["float32", "half", "int8"]
    assert all(form["p50"] > 0 for form in forms)
    whole, half, int8 = (Path("out") / name for name in names)
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    import onnx

    types = {x.data_type for x in onnx.load(int8).graph.initializer if len(x.dims) == 4}
    last = smaller.last_convolutions(onnx.load(whole))
    assert onnx.TensorProto.INT8 in types and len(last) == 1
    card = json.loads(Path("out/model.int8.onnx.json").read_text())
    assert card["precision"] == "int8" and "bev_map" in card["parity"]["file"]


def test_smaller_forms_fail_whole(kdbench, recorded, monkeypatch):
    code, out, line = exported(kdbench, recorded(), "--format", "pt2", "--int8", "--out", "m.pt2")
    assert code == 2 and "--half and --int8 are for --format onnx alone" in line
    needs_onnx()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kdbench.export.export.make", full)
    code, _, line = exported(kdbench, recorded(), "--int8", "--out", "out/model.onnx")
    assert code == 1 and "cannot be written (No space left on device)" in line
    assert not list(Path("out").iterdir())


def test_programs_take_turns(monkeypatch):
    clock = iter(range(1000))
    seen = []
    monkeypatch.setattr(smaller, "perf_counter", lambda: next(clock) / 1e3)
    programs = [lambda frame, k=k: seen.append((k, frame)) for k in range(2)]
    assert smaller.in_turns(programs, ["a", "b"]) == pytest.approx([1.0, 1.0])
    assert seen[:4] == [(0, "a"), (1, "a"), (0, "b"), (1, "b")]
    assert len(seen) == 4 * (smaller.TURNS + 1)


def test_a_graph_that_is_off_leaves_no_file(kdbench, recorded, monkeypatch):
    path = recorded()
    monkeypatch.setattr(parity, "MOST_OUTPUT", -1.0)
    code, _, line = exported(kdbench, path, "--format", "pt2", "--out", "out/model.pt2")
    assert code == 1 and "does not compute what the detector does" in line
    assert not list(Path("out").iterdir())


def test_neither_nan_nor_a_moved_map_is_parity():
    good = {"frames": 1, "size": {"box": 1.0}, "detector": {"bev_map": 5.0, "3d_map": 4.0}}
    same = parity.Parity(difference={"box": 1e-4}, file=good["detector"], **good)
    assert same.problem() is None
    nan = parity.Parity(difference={"box": float("nan")}, file=good["detector"], **good)
    assert "'box' is off by nan" in nan.problem()
    moved = {"bev_map": 5.0, "3d_map": 4.02}
    assert "3d_map is 4.020" in parity.Parity(difference={}, file=moved, **good).problem()
    assert np.isnan(parity._largest(0.0, torch.tensor([1.0, float("nan")])))


@pytest.fixture
def example(monkeypatch):
    """The functions of the example, which imports the file beside it."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return runpy.run_path(str(EXAMPLES / "detect_onnx.py"))


def test_the_example_is_short_and_knows_no_torch():
    text = (EXAMPLES / "detect_onnx.py").read_text()
    assert len(text.splitlines()) < 60 and "torch" not in text and "import kdbench" not in text


@pytest.mark.parametrize("detector", ["pointpillars", "centerpoint"])
def test_the_example_decorates_and_chooses_as_the_detector(example, kitti_tree, detector):
    _, made = network(detector)
    graph = made.graph()
    points = np.fromfile(kitti_tree / "training/velodyne/000002.bin", np.float32).reshape(-1, 4)
    ours, theirs = (
        graph.inputs(made.prepare(unlabelled(points))),
        example["decorate"](points, graph.card),
    )
    # Ours are sorted by pillar, theirs as they came; sorted by place in the cloud both are equal.
    a, b = (np.lexsort(np.asarray(x["points"])[:, :4].T) for x in (ours, theirs))
    np.testing.assert_allclose(ours["points"][a], theirs["points"][b], atol=1e-4)
    np.testing.assert_array_equal(ours["cell"][a], theirs["cell"][b])
    with torch.no_grad():
        shapes = {n: x.shape for n, x in zip(graph.outputs, graph(*ours.values()), strict=True)}
    outputs = {name: torch.randn(shape) for name, shape in shapes.items()}
    (expected,) = made.predict({f"head.{name}": x for name, x in outputs.items()})
    found = example["choose"]({name: x.numpy() for name, x in outputs.items()}, graph.card)
    assert [name for name, *_ in found] == [CLASSES[i] for i in expected.labels]
    np.testing.assert_allclose([s for _, s, _ in found], expected.scores, atol=1e-6)
    np.testing.assert_allclose([box for *_, box in found], expected.boxes, atol=1e-4, rtol=1e-5)
    assert len(found) > 20


def test_the_example_detects_with_an_exported_file(kdbench, recorded, tmp_path):
    needs_onnx()
    assert exported(kdbench, recorded(), "--out", "model.onnx")[0] == 0
    arguments = [sys.executable, EXAMPLES / "detect_onnx.py", "model.onnx", POINTS]
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    _, made = network()
    points = np.fromfile(POINTS, np.float32).reshape(-1, 4)
    with torch.no_grad():
        (expected,) = made.predict(made(made.prepare(unlabelled(points))))
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == [CLASSES[i] for i in expected.labels] and lines
    got = np.array([line[1:] for line in lines], np.float64)
    np.testing.assert_allclose(got[:, 0], expected.scores, atol=2e-3)
    np.testing.assert_allclose(got[:, 1:], expected.boxes, atol=2e-2)
