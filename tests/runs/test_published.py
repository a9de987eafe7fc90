"""Teachers that are published: found by the hash of their run, wherever and whoever learns."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kdbench.runs import published, store
from kdbench.runs.build import build_detector
from kdbench.runs.records import SCHEMA, write_record
from kdbench.runs.rounding import round_matrices
from kdbench.runs.settings import build_spec
from kdbench.training.teachers import known_teacher

CLASSES = ("Car", "Pedestrian", "Cyclist")
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def teacher(tmp_path, monkeypatch):
    """The run of a teacher that is published and in no other place."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(published, "FOLDER", tmp_path / "published")
    spec = build_spec(profile="tiny", method="kd", ratio=4).teacher_run()
    publish(spec, tmp_path / "published")
    return spec


def publish(spec, folder):
    """Puts an untrained network where the weights of a run are looked for, with a record."""
    network = build_detector(spec.detector, CLASSES)
    round_matrices(network)
    store.save_weights(spec, network)
    weights = (folder / spec.record_path).with_suffix(".safetensors")
    weights.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(store.weights_path(spec), weights)
    parts = dict.fromkeys(("metrics", "cost", "latency", "training"), {"some": 1})
    sums = {"weights_sha256": store.checksum(network.state_dict())}
    write_record(
        folder, {"schema": SCHEMA, "hash": spec.hash, "spec": spec.to_dict()} | parts | sums
    )


@pytest.mark.parametrize(
    "named",
    [{}, {"device": "cuda"}, {"seed": 3}, {"ratio": 16, "overrides": {"train.lr": 0.002}}],
)
def test_it_is_found_by_every_student(teacher, tmp_path, named):
    student = build_spec(**{"profile": "tiny", "method": "fitnet", "ratio": 4} | named)
    record = known_teacher(tmp_path / "results", student.teacher_run())
    assert record["hash"] == teacher.hash
    found = store.load_trained(student.teacher_run(), record["weights_sha256"])
    assert store.checksum(found.state_dict()) == record["weights_sha256"]


def test_one_of_another_training_is_not(teacher, tmp_path):
    other = build_spec(profile="tiny", method="kd", overrides={"teacher.steps": 5})
    assert known_teacher(tmp_path / "results", other.teacher_run()) is None


def test_that_of_a_results_folder_comes_first(teacher, tmp_path):
    """So that all students of a folder learn from the same bits."""
    network = build_detector(teacher.detector, CLASSES)
    round_matrices(network)
    store.save_weights(teacher, network)
    own = store.checksum(network.state_dict())
    record = published.record_of(teacher) | {"weights_sha256": own}
    write_record(tmp_path / "results", record)
    assert known_teacher(tmp_path / "results", teacher)["weights_sha256"] == own
    shutil.rmtree(tmp_path / "home")
    assert known_teacher(tmp_path / "results", teacher)["weights_sha256"] != own


def test_published_weights_that_are_damaged_are_not_used(teacher, tmp_path):
    path = published.weights_path(teacher)
    path.write_bytes(path.read_bytes()[:100])
    assert known_teacher(tmp_path / "results", teacher) is None


@pytest.mark.slow
def test_an_installed_wheel_finds_it(tmp_path, monkeypatch):
    """A wheel built from a copy of the repository that publishes a teacher."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".git", ".venv", "quick", "build", "*.egg-info", "demo")
    shutil.copytree(REPOSITORY, source, ignore=ignored)
    spec = build_spec(profile="tiny", method="kd", ratio=4).teacher_run()
    publish(spec, source / "results/published")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", tmp_path, source]
    subprocess.run([str(word) for word in build], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "installed")
    script = (
        "from pathlib import Path; from kdbench.runs.settings import build_spec;"
        "from kdbench.training.teachers import known_teacher;"
        "run = build_spec(profile='tiny', method='kd', ratio=4).teacher_run();"
        "print(known_teacher(Path('none'), run)['hash'])"
    )
    environment = {"PYTHONPATH": str(tmp_path / "installed"), "PATH": "/usr/bin:/bin"}
    found = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path!r}; {script}"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.strip() == spec.hash
