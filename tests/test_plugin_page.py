"""The example of a method in docs/extend.md: short, and works from a file and from a package."""

import base64
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs/extend.md"


@pytest.fixture(scope="module")
def example() -> str:
    return re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)


def kdbench(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", "from kdbench.cli import main; main()", *arguments],
        env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip


def test_it_has_at_most_thirty_lines(example):
    assert len(example.splitlines()) <= 30


def test_it_keeps_the_contract_from_a_file(example, tmp_path):
    path = tmp_path / "channel.py"
    path.write_text(example)
    done = kdbench("check", "channel", "--plugin", str(path))
    assert done.returncode == 0, done.stderr
    assert "channel" in done.stdout and "ok" in done.stdout


def test_it_works_from_an_installed_package(example, tmp_path):
    wheel = build_wheel(tmp_path, example)
    site = tmp_path / "site"
    install = ["install", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True)
    listed = kdbench("list", "methods", PYTHONPATH=str(site))
    assert "channel" in listed.stdout, listed.stderr
    done = kdbench("check", "channel", PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr


def test_a_package_that_takes_a_name_again_is_an_error(example, tmp_path):
    build_wheel(tmp_path, example, name="kd")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    done = kdbench("list", "methods", PYTHONPATH=str(tmp_path / "site"))
    assert done.returncode == 2
    assert "method 'kd' is registered twice" in done.stderr


def build_wheel(folder: Path, module: str, name: str = "channel") -> Path:
    """A package with one entry point, as a build tool would make it."""
    info = "kdbench_channel-1.0.dist-info"
    target = "kdbench_channel:ChannelDistillation"
    files = {
        "kdbench_channel.py": module,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: kdbench-channel\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[kdbench.methods]\n{name} = {target}\n",
    }
    record = [f"{path},sha256={_digest(text)},{len(text)}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    path = folder / "kdbench_channel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
    return path


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
