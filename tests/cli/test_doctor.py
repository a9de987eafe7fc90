"""`kdbench doctor`: what is there, what is missing, and the exit code that follows."""

import json
from importlib import metadata

import pytest

from kdbench.cli import doctor, main, requirements
from kdbench.errors import UsageError
from kdbench.registry import Registry


@pytest.fixture(autouse=True)
def somewhere(tmp_path, monkeypatch):
    """A cache of the test's own, and no KITTI."""
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KDBENCH_KITTI", raising=False)
    return tmp_path


@pytest.fixture
def diagnose(capsys):
    """Runs the command; returns its exit code and its JSON."""

    def run():
        with pytest.raises(SystemExit) as stop:
            main(["doctor", "--json", "-"])
        return stop.value.code, json.loads(capsys.readouterr().out)

    return run


def test_keys_are_stable(diagnose, somewhere):
    code, found = diagnose()
    assert list(found) == [
        "versions", "devices", "extras", "home", "data", "plugins", "ok", "problems",
    ]  # fmt: skip
    assert (code, found["ok"], found["problems"]) == (0, True, [])
    for name in ("python", "kdbench", "torch", "numpy", "numba"):
        assert found["versions"][name]
    assert list(found["home"]) == ["path", "bytes", "free_bytes", "writable"]
    assert not (somewhere / "home").exists()  # looking changes nothing
    assert list(found["plugins"]) == ["methods", "detectors", "datasets"]
    assert found["plugins"]["detectors"]["pointpillars"] == "ok"


def test_text(capsys):
    with pytest.raises(SystemExit):
        main(["doctor"])
    out = capsys.readouterr().out
    for word in ("versions", "devices", "extra [scatter]", "folders", "methods", "KDBENCH_HOME"):
        assert word in out
    assert out.endswith("a run would work\n")


def test_an_absent_extra_comes_with_its_command(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(requirements.metadata, "version", absent)
    found = requirements.extras()["scatter"]["torch-scatter"]
    assert found == "absent; pip install --no-build-isolation 'torch-scatter>=2.1.2'"
    problems = []
    assert requirements.versions(problems)["numpy"] == "absent"
    assert "numpy is absent: pip install 'numpy>=2.0'" in problems


def test_another_version_than_asked_for_is_remarked(monkeypatch):
    monkeypatch.setattr(requirements.metadata, "version", lambda name: "0.0.1")
    assert requirements.versions([])["numpy"] == "0.0.1 (kdbench asks for >=2.0)"


def test_a_library_that_fails_to_import_is_a_problem(diagnose, monkeypatch):
    def broken(name):
        raise ImportError("numba needs NumPy 2.2 or less")

    monkeypatch.setattr(requirements.importlib, "import_module", broken)
    problems = []
    requirements.versions(problems)
    assert "numba fails to import: ImportError: numba needs NumPy 2.2 or less" in problems


def test_size_of_the_cache(diagnose, somewhere):
    (somewhere / "home" / "runs").mkdir(parents=True)
    (somewhere / "home" / "runs" / "a").write_bytes(bytes(1234))
    assert diagnose()[1]["home"]["bytes"] == 1234


def test_a_cache_that_cannot_be_written_is_a_problem(diagnose, somewhere):
    (somewhere / "home").write_text("a file")
    code, found = diagnose()
    assert (code, found["ok"], found["home"]["writable"]) == (1, False, False)
    assert "cannot be written" in found["problems"][0]


def test_kitti_tree(diagnose, somewhere, monkeypatch):
    monkeypatch.setenv("KDBENCH_KITTI", str(somewhere / "kitti"))
    for part in doctor.KITTI_TREE[1:]:
        (somewhere / "kitti" / part).mkdir(parents=True)
    code, found = diagnose()
    assert code == 0  # a run on other data would still work
    assert found["data"]["KDBENCH_KITTI"].endswith("lacks ImageSets/train.txt")
    (somewhere / "kitti" / doctor.KITTI_TREE[0]).touch()
    assert diagnose()[1]["data"]["KDBENCH_KITTI"].endswith("a KITTI tree")


def test_broken_plugins_are_shown_and_matter_only_where_needed(diagnose, monkeypatch):
    get = Registry.get

    def failing(broken):
        def fails(registry, name):
            if name == broken:
                raise UsageError(f"{name} fails to import")
            return get(registry, name)

        return fails

    monkeypatch.setattr(Registry, "get", failing("kd"))
    code, found = diagnose()
    assert (code, found["plugins"]["methods"]["kd"]) == (0, "kd fails to import")
    monkeypatch.setattr(Registry, "get", failing("synthetic"))
    code, found = diagnose()
    assert (code, found["problems"]) == (1, ["synthetic fails to import"])
