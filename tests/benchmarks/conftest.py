"""What benchmarks share."""

import pytest
import torch


@pytest.fixture
def one_thread():
    """Torch with one thread, so that both sides have as many."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
