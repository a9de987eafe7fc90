"""An sdist, the wheel made from it, and that wheel at work in an environment of its own.

Nothing is downloaded: what kdbench needs is linked into that environment from this one.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = {
    "kdbench": "kdbench",
    "methods": "kdbench/methods",
    "detectors": "kdbench/detectors",
    "datasets": "kdbench/datasets",
    "results/published": "kdbench/published",
}
pytestmark = pytest.mark.slow


def build(what: str, source: Path, out: Path) -> Path:
    """Builds an `sdist` or a `wheel` of a source tree, as `pip` would; returns its path."""
    code = f"from setuptools.build_meta import build_{what} as b; print(b({str(out)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    copy = folder / "copy"
    skipped = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "tests")
    shutil.copytree(REPOSITORY, copy, ignore=skipped)
    return build("sdist", copy, folder)


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as file:
        file.extractall(folder, filter="data")
    (source,) = (path for path in folder.iterdir() if path.is_dir())
    return build("wheel", source, folder)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The scripts' folder of an environment that holds the wheel, and links to what it needs."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    paths = {"base": str(place), "platbase": str(place)}
    site = Path(sysconfig.get_path("purelib", "venv", paths))
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(folder).iterdir():
            if "kdbench" not in entry.name.lower() and not (site / entry.name).exists():
                (site / entry.name).symlink_to(entry)
    scripts = Path(sysconfig.get_path("scripts", "venv", paths))
    pip = [sys.executable, "-m", "pip", "--python", scripts / "python", "install"]
    limits = ["--no-deps", "--no-index", "--constraint", REPOSITORY / "constraints.txt"]
    done = subprocess.run([*pip, *limits, wheel], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return scripts


@pytest.fixture
def kdbench(installed, tmp_path):
    """Runs a command line of the installed kdbench in an empty folder; gives its output."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("KDBENCH", "PYTHON"))}
    settings = kept | {"KDBENCH_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}

    def run(program, *arguments) -> str:
        done = subprocess.run(
            [installed / program, *arguments], cwd=tmp_path, env=settings, capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def package_files() -> set[str]:
    """All that a wheel should hold, as it stands in the repository."""
    tracked = subprocess.run(
        ["git", "ls-files", *SOURCES], cwd=REPOSITORY, capture_output=True, text=True
    )
    if tracked.returncode:
        pytest.skip("not in a git checkout, so it is not known what belongs to the project")
    found = set()
    for line in tracked.stdout.splitlines():
        top = next(folder for folder in SOURCES if line.startswith(f"{folder}/"))
        found.add(SOURCES[top] + line.removeprefix(top))
    return found


def test_a_wheel_made_from_the_sdist_holds_every_file_of_the_packages(wheel):
    with zipfile.ZipFile(wheel) as file:
        held = {name for name in file.namelist() if name.startswith("kdbench/")}
    assert held == package_files()


def test_the_installed_one_is_the_wheel(kdbench, installed):
    where = kdbench("python", "-c", "import kdbench; print(kdbench.__file__)").strip()
    assert Path(where).is_relative_to(installed.parent)
    assert not Path(where).is_relative_to(REPOSITORY)


def test_it_runs_reports_and_knows_what_is_published(kdbench, tmp_path):
    kdbench("kdbench", "run", "--profile", "tiny", "--method", "kd", "--ratio", "4")
    (path,) = tmp_path.glob("results/*/pointpillars-x4/kd/*.json")
    tuned = json.loads((REPOSITORY / "kdbench/runs/tuned/pointpillars/kd.json").read_text())
    scale = json.loads(path.read_text())["spec"]["method"]["scale"]
    assert scale != 1 and repr(scale) in json.dumps(tuned)
    kdbench("kdbench", "report")
    assert "<html" in (tmp_path / "results/index.html").read_text()
    listed = json.loads(kdbench("kdbench", "zoo", "--json", "-"))
    assert {row["method"] for row in listed} >= {"teacher"}
    kdbench("kdbench", "zoo", "verify")
    kdbench("kdbench", "new", "method", "mine")
    assert (tmp_path / "mine/kdbench_mine.py").is_file()
