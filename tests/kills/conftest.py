"""One process that all tests of kills and full disks fork their commands from."""

import pytest

from tests.kills.trial import Server


@pytest.fixture(scope="session")
def server():
    with Server() as running:
        yield running
