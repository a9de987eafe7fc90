"""Damaged files of every kind end in an exit code and one line, or are read as they stand."""

import subprocess
import sys

import pytest

from tests.fuzz.driver import ROOT
from tests.fuzz.kinds import KINDS


def fuzz(kind: str, inputs: int) -> tuple[int, str]:
    """The exit code of so many inputs, 0 when none was answered wrongly, and what was said."""
    command = [sys.executable, "-m", "tests.fuzz", kind, "--inputs", str(inputs)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return found.returncode, found.stdout + found.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_few(kind):
    code, said = fuzz(kind, 20)
    assert code == 0 and "20 inputs, 0 wrong" in said, said


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many(kind):
    code, said = fuzz(kind, 10_000)
    assert code == 0 and "10000 inputs, 0 wrong" in said, said
