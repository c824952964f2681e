from pathlib import Path

import pytest

from tests.drawn import draw_dataset


@pytest.fixture
def dataset(tmp_path) -> Path:
    return draw_dataset(tmp_path / "data")
