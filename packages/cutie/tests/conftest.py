"""What all tests of the package share."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """Miniature networks gain nothing from threads and lose much when other tests run beside them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
