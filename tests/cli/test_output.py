"""Where output goes: files, full devices, terminals of few characters."""

import os
import subprocess
import sys

import pytest

from kdbench.storage import home

ENVIRONMENT = {"OMP_NUM_THREADS": "1"}


def kdbench_process(*arguments, **options):
    command = [sys.executable, "-m", "kdbench", *map(str, arguments)]
    env = {**os.environ, **ENVIRONMENT, **options.pop("env", {})}
    return subprocess.run(command, env=env, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("command", [["list", "methods"], ["run", "--method", "none"]])
def test_a_folder_as_a_file_is_refused_before_the_work(kdbench, tmp_path, command):
    code, out, err = kdbench(*command, "--json", tmp_path)
    assert (code, out) == (2, "")
    assert f"error: --json {tmp_path}: a folder" in " ".join(err.split("\n"))


def test_a_place_that_cannot_be_written_is_refused_before_the_work(kdbench, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = kdbench("run", "--method", "none", "--json", tmp_path / "file/x.json")
    assert (code, out) == (1, "")
    assert "x.json: cannot be written" in err and len(err.strip().splitlines()) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_standard_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = kdbench_process("list", "methods", "--json", "-", stdout=full)
    assert done.returncode == 1
    assert done.stderr == "error: standard output: No space left on device\n"


def test_a_terminal_of_few_characters_gets_others_in_their_place():
    text = "from kdbench.cli.output import encodable_streams as e; e(); print('± † 学 ü')"
    env = os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", text], env=env, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("+- + ? ?\n", "")


def test_compiled_code_goes_to_the_cache_where_the_installation_cannot_be_written(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    home.cache_compiled()
    assert "NUMBA_CACHE_DIR" not in os.environ
    monkeypatch.setattr(home.os, "access", lambda *_: False)
    home.cache_compiled()
    assert os.environ["NUMBA_CACHE_DIR"] == str(tmp_path / "numba")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "own")
    home.cache_compiled()
    assert os.environ["NUMBA_CACHE_DIR"] == "own"
