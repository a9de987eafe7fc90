"""The rules of detectors and data sets: what keeps them passes, what breaks one is told which."""

import importlib.util
import math
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from kdbench.cli.new import new
from kdbench.errors import UsageError
from kdbench.registry import datasets, detectors
from kdbench.runs.settings import beyond, build_spec
from kdbench.training.conformance import Failed
from kdbench.training.data import build_dataset
from kdbench.training.dataset_conformance import check_dataset
from kdbench.training.detector_conformance import CHECKS, check_detector
from kdbench.training.progress import Reporter
from kdbench.training.run import Runner


def written(kind: str, folder) -> type:
    """The class that `kdbench new` writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert CliRunner().invoke(new, [kind, "ours"]).exit_code == 0
    spec = importlib.util.spec_from_file_location("kdbench_ours", folder / "ours/kdbench_ours.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["kdbench_ours"] = module
    spec.loader.exec_module(module)
    return vars(module)[f"KdOurs{kind.capitalize()}"]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return written("detector", tmp_path_factory.mktemp("detector"))


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return written("dataset", tmp_path_factory.mktemp("dataset"))


# Detectors


SLOWER = ("centerpoint", "pointrcnn")
BUILT_IN = [
    pytest.param(name, marks=[pytest.mark.slow] if name in SLOWER else [])
    for name in detectors.names()
]


@pytest.mark.parametrize("name", BUILT_IN)
def test_detectors_that_are_built_in_keep_the_contract(name):
    assert check_detector(build_spec(profile="tiny", detector=name).detector) == list(CHECKS)


def with_taps(change):
    def forward(self, inputs):
        return change(self, self.unbroken(inputs))

    return {"forward": forward}


def with_detections(change):
    return {"predict": lambda self, taps: [change(d) for d in self.undetected(taps)]}


def in_camera_frame(found):
    x, y, z, *rest = found.boxes.unbind(1)
    return replace(found, boxes=torch.stack([-y, -z, x, *rest], dim=1))


def other_axes(self, taps):
    return taps | {"neck": taps["neck"].transpose(2, 3)}


def uphill(losses):
    """The same losses, their gradients the wrong way round."""
    return {name: 2 * value.detach() - value for name, value in losses.items()}


def other_stages(self, inputs):
    yield self(inputs) | {"neck": self(inputs)["neck"] + 1}


def remembers(self, inputs):
    self.calls = getattr(self, "calls", 0.0) + 1
    return self.unbroken(inputs + self.calls)


def shifted(self, batch):
    batch.points[:, 1] += 1
    return self.unprepared(batch)


def widths_of_its_own(self, published):
    return published


BROKEN_DETECTORS = {
    "no width": ({"width": widths_of_its_own}, "fewer parameters"),
    "absent tap": (with_taps(lambda self, taps: taps | {"more": taps["neck"]}), "taps .*'more'"),
    "axes": (with_taps(other_axes), "neck .*: 24 x 16 cells .* do not cover 16"),
    "nan": (with_taps(lambda self, taps: taps | {"neck": taps["neck"] * math.nan}), "not finite"),
    "stages": ({"stages": other_stages}, "`stages` gives other taps"),
    "no loss": ({"loss": lambda self, taps, batch: {}}, "gives no loss"),
    "vector": ({"loss": lambda self, taps, batch: {"a": taps["neck"][:, 0, 0, 0]}}, "no scalar"),
    "infinite": ({"loss": lambda s, t, b: {"a": t["neck"].sum() / 0}}, "loss a of .* is (inf|nan)"),
    "no gradient": (
        {"loss": lambda s, taps, b: {"a": taps["neck"].sum()}}, "no gradient reaches head",
    ),
    "uphill": (
        {"loss": lambda s, t, b: uphill(s.unlost(t, b))}, "the loss falls",
    ),
    "frames": ({"predict": lambda self, taps: self.undetected(taps)[:1]}, "of 1 frames, not 2"),
    "camera": (with_detections(in_camera_frame), "in the LiDAR frame"),
    "order": (with_detections(lambda d: replace(d, scores=d.scores.flip(0))), "best first"),
    "scores": (with_detections(lambda d: replace(d, scores=d.scores + 1)), "from 0 to 1"),
    "classes": (with_detections(lambda d: replace(d, labels=d.labels + 3)), "none of the classes"),
    "state": ({"forward": remembers}, "stages|other (taps|weights)"),
    "batch": ({"prepare": shifted}, "changes the batch"),
}  # fmt: skip


@pytest.mark.parametrize("changes, message", BROKEN_DETECTORS.values(), ids=BROKEN_DETECTORS)
def test_a_detector_that_breaks_a_rule_is_told_which(network, changes, message, monkeypatch):
    kept = {"unbroken": network.forward, "undetected": network.predict,
            "unprepared": network.prepare, "unlost": network.loss}  # fmt: skip
    broken = type("Broken", (network,), kept | changes)
    monkeypatch.setitem(detectors._found, "ours", broken)
    spec = build_spec(profile="tiny", detector="ours", overrides=SMALL).detector
    with pytest.raises(Failed, match=f"ours: .*({message})"):
        check_detector(spec)


SMALL = {"detector.point_range": [0.0, -5.12, -3.0, 15.36, 5.12, 1.0], "detector.cell": 0.32}


def test_rows_that_depend_on_the_width_are_told(monkeypatch):
    kind, up = detectors.get("pointpillars"), torch.tensor([0, 1, 0])

    class Moved(kind):
        name = "moved"

        def stages(self, inputs):
            yield self(inputs)

        def forward(self, inputs):
            taps = super().forward(inputs)
            rows = taps["voxel"]
            return taps | {
                "voxel": replace(rows, coordinates=rows.coordinates + int(self.ratio) * up)
            }

    monkeypatch.setitem(detectors._found, "moved", Moved)
    own = build_spec(profile="tiny", detector="pointpillars").detector
    spec = replace(own, name="moved")
    with pytest.raises(Failed, match="rows of voxel are other places"):
        check_detector(spec)


def with_spec(monkeypatch, tap, **changes):
    """PointPillars that says something else about a tap; `changes` are functions of the network."""

    class Other(detectors.get("pointpillars")):
        name = "other"

        def _tap_specs(self, *widths):
            specs = super()._tap_specs(*widths)
            changed = {key: partial(change, self) for key, change in changes.items()}
            return specs | {tap: replace(specs[tap], **changed)}

    monkeypatch.setitem(detectors._found, "other", Other)
    return replace(build_spec(profile="tiny", detector="pointpillars").detector, name="other")


def test_a_rest_of_the_network_that_is_another_is_told(monkeypatch):
    spec = with_spec(monkeypatch, "neck", apply=lambda self, x: self.head(x + 1))
    with pytest.raises(Failed, match="`apply` of neck gives other values"):
        check_detector(spec)


def test_what_is_asked_of_scores_and_is_not_their_loss_is_told(monkeypatch):
    def asked(self, taps, batch):
        targets, weights = self.head.asked(taps, batch)
        return targets, 2 * weights

    spec = with_spec(monkeypatch, "head.cls", asked=asked)
    with pytest.raises(
        Failed, match="`asked` of head.cls comes to .*, which is none of the losses"
    ):
        check_detector(spec)


# Data sets


def test_data_sets_that_are_built_in_keep_the_contract(kitti_tree):
    assert len(check_dataset(build_spec(profile="tiny", dataset="kitti"), str(kitti_tree))) == 7


@pytest.mark.slow
def test_synthetic_frames_keep_the_contract():
    assert len(check_dataset(build_spec(profile="tiny", dataset="synthetic"))) == 7


def with_frames(**change):
    def frame(self, frame_id):
        found = self.unbroken(frame_id)
        return replace(found, **{name: f(getattr(found, name)) for name, f in change.items()})

    return {"frame": frame}


def shuffled(points):
    return np.random.default_rng().permutation(points)


def without_seed(self, frame_id, rng):
    found = self.frame(frame_id)
    return replace(found, points=shuffled(found.points))


def raised(points):
    return points + np.array([0, 0, 0, 9], np.float32)


BROKEN_DATASETS = {
    "no frames": ({"ids": lambda self, split: []}, "the split train has no frames"),
    "twice": ({"ids": lambda self, split: ["val-0001"] * 2}, "stands in train twice"),
    "shared": ({"ids": lambda self, split: ["val-0001"]}, "in train and in val"),
    "numbers": ({"ids": lambda self, split: [1, 2]}, "must be text"),
    "other id": (with_frames(id=lambda i: i + "x"), "says that it is"),
    "doubles": (
        with_frames(points=lambda p: p.astype(float)),
        r"points are float64 .*, not float32",
    ),
    "columns": (with_frames(boxes=lambda b: b[:, :6]), r"boxes are .*not float32 \(n, 7\)"),
    "nan": (with_frames(boxes=lambda b: b * np.float32(math.nan)), "boxes are not finite"),
    "far": (with_frames(points=lambda p: p + np.float32(200)), "points are outside of point_range"),
    "reflectance": (with_frames(points=raised), r"reflectance must be 0\.\.1"),
    "labels": (with_frames(labels=lambda x: x + 3), "not below 3, the number of classes"),
    "int32": (with_frames(labels=lambda x: x.astype(np.int32)), "labels are int32"),
    "random": (with_frames(points=shuffled), "another the second time"),
    "unseeded": ({"training_frame": without_seed}, "one seed gives two training frames"),
    "moved": (
        with_frames(boxes=lambda b: b + np.float32(0.3)),
        "no .* of `objects` is where a box",
    ),
    "no points": (with_frames(points=lambda p: p[:0]), "no box has a point in it"),
    "prints": ({"fingerprint": lambda self: str(id(self))}, "two fingerprints"),
    "verify": ({"verify": lambda self: ["cloud 3 is damaged"]}, "cloud 3 is damaged"),
}


@pytest.mark.parametrize("changes, message", BROKEN_DATASETS.values(), ids=BROKEN_DATASETS)
def test_a_data_set_that_breaks_a_rule_is_told_which(frames, changes, message, monkeypatch):
    broken = type("Broken", (frames,), {"unbroken": frames.frame} | changes)
    monkeypatch.setitem(datasets._found, "ours", broken)
    with pytest.raises(Failed, match=f"ours: .*{message}"):
        check_dataset(build_spec(profile="tiny", dataset="ours"))


def test_a_data_set_may_lack_the_options_of_profiles(frames, monkeypatch, tmp_path):
    class Plain(frames):
        def __init__(self, *, root=None, cache_dir=None, point_range=None):
            super().__init__(point_range=point_range, train_frames=9, val_frames=2)

    monkeypatch.setitem(datasets._found, "ours", Plain)
    spec = build_spec(profile="tiny", dataset="ours")
    assert spec.dataset.options == {}
    assert beyond("quick", "ours") == ["train_frames", "val_frames", "augmentation"]
    assert "takes the options of every profile" in check_dataset(spec)
    runner = Runner(tmp_path / "results", reporter=Reporter(quiet=True))
    said = []
    monkeypatch.setattr(runner.reporter, "say", said.append)
    runner.prepare(spec)
    (line,) = said
    assert "data set 'ours' has no option train_frames, val_frames, which profile 'tiny'" in line
    with pytest.raises(UsageError, match="unknown option of dataset 'ours' 'train_frames'"):
        build_spec(profile="tiny", dataset="ours", overrides={"dataset.train_frames": 8})


def test_a_data_set_that_does_not_take_what_every_run_gives_is_told(frames, monkeypatch):
    class Rootless(frames):
        def __init__(self, *, cache_dir=None, point_range=None):
            super().__init__()

    monkeypatch.setitem(datasets._found, "ours", Rootless)
    with pytest.raises(UsageError, match="'ours': got an unexpected keyword argument 'root'; ever"):
        build_dataset(build_spec(profile="tiny", dataset="ours"))
