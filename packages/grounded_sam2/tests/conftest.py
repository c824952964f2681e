import pytest

from .drawn_videos import lively_network, save_video


@pytest.fixture(scope="session")
def network():
    return lively_network()


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    return save_video(tmp_path_factory.mktemp("frames") / "clip", 24)
