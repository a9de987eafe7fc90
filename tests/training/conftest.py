"""A tiny run on the small KITTI tree: seconds on one core."""

from pathlib import Path

import pytest

from kdbench.runs.settings import build_spec
from kdbench.training.data import build_dataset
from kdbench.training.progress import Reporter
from kdbench.training.run import Runner

FAST = {"method.n": 50, "method.k": 4}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def make_spec():
    """Specs of tiny runs on the data set `kitti`."""

    def make(method="none", ratio=4.0, **overrides):
        named = {k.replace("__", "."): v for k, v in overrides.items()}
        if method == "pointdistiller":
            named = FAST | named
        return build_spec(
            profile="tiny", dataset="kitti", method=method, ratio=ratio, overrides=named
        )

    return make


@pytest.fixture
def dataset(kitti_tree, make_spec):
    """The small tree as a data set, cropped as a tiny run sees it."""
    return build_dataset(make_spec(), str(kitti_tree))


@pytest.fixture
def make_runner(kitti_tree, tmp_path):
    """Runners over the small tree that write to `tmp_path / "results"`."""

    def make(**options):
        return Runner(tmp_path / "results", str(kitti_tree), reporter=Reporter(True), **options)

    return make
