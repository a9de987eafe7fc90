"""A disk that is full at each file that a command writes, one after the other."""

import os
import re

import pytest

from tests.kills.disk import small_disk
from tests.kills.trial import Trials

SIZE = "500m"  # of all that a command has there, twice
TEMPORARY = re.compile(r"\.(.+)\.\w{8}")  # as `storage/files.py` names what it is writing


def first_writes(writes: list[str]) -> dict[str, int]:
    """The files that are written, and the number of the first write of each."""
    first: dict[str, int] = {}
    for number, path in enumerate(writes):
        folder, name = os.path.split(path)
        found = TEMPORARY.fullmatch(name)
        first.setdefault(os.path.join(folder, found[1] if found else name), number)
    return first


@pytest.mark.slow
@pytest.mark.parametrize("name", ["synth", "report", "import", "run"])
def test_no_file_is_lost_to_a_full_disk(name, server, tmp_path):
    with small_disk(tmp_path, SIZE) as mounted:
        if not mounted:
            pytest.skip("no file system can be mounted here")
        trials = Trials(name, tmp_path, server)
        files = first_writes(trials.writes)
        made = [path for path in trials.whole if path.startswith(("out", "home"))]
        assert set(map(os.path.basename, made)) <= set(map(os.path.basename, files))
        faults = {path: trials.full(number) for path, number in files.items()}
    assert {path: found for path, found in faults.items() if found} == {}
