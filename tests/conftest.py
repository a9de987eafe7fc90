"""What all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real frames and reference results; tests that need it skip without it.

    It is `shared` beside the repository, or where KDBENCH_SHARED says.
    """
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("KDBENCH_SHARED", beside))
    if not (folder / "golden").is_dir():
        pytest.skip("no folder of shared data (set KDBENCH_SHARED)")
    return folder
