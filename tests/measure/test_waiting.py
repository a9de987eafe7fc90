"""How OpenMP's threads are told to wait: before torch is there, unless the user has said it."""

import subprocess
import sys

import pytest

SCRIPT = """
import os, sys
{before}
from kdbench.measure.waiting import wait_briefly
print(wait_briefly(), os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""


def said(before="", **environment) -> list[str]:
    command = [sys.executable, "-c", SCRIPT.format(before=before)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return found.stdout.split()


def test_it_is_set_before_torch_is_imported():
    told, spins, torch_is_there = said()
    assert (told, torch_is_there) == ("True", "False") and int(spins) > 0


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_a_users_own_setting_wins(name):
    told, spins, _ = said(**{name: "5"})
    assert told == "False" and spins == ("5" if name == "GOMP_SPINCOUNT" else "None")


def test_a_program_that_imported_torch_first_keeps_its_own():
    assert said("import torch")[:2] == ["False", "None"]


def test_the_command_sets_it_for_itself_and_those_it_starts():
    script = (
        "import os, sys, kdbench.cli as cli\n"
        "sys.exit = lambda code: print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)\n"
        "cli.main(['--version'])"
    )
    found = subprocess.run([sys.executable, "-c", script], env={}, capture_output=True, text=True)
    spins, torch_is_there = found.stdout.split()[-2:]
    assert int(spins) > 0 and torch_is_there == "False"
