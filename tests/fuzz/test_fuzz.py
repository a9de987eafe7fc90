"""Damaged files of every kind end in an exit code and one line, or are read as they stand."""

import subprocess
import sys

import pytest

from tests.fuzz.driver import ROOT
from tests.fuzz.kinds import KINDS


def fuzz(kind: str, inputs: int) -> None:
    command = [sys.executable, "-m", "tests.fuzz", kind, "--inputs", str(inputs)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_few(kind):
    fuzz(kind, 20)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many(kind):
    fuzz(kind, 10_000)
