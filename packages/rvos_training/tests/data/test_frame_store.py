"""Frames that are kept are the files' own, and no more is kept than was allowed."""

import shutil

import numpy as np
import pytest
from mask_interchange import DatasetError
from rvos_training.data.data_parts import open_parts
from rvos_training.data.frame_store import FrameStore
from rvos_training.data.object_presence import read_labels
from synthetic_data import HEIGHT, WIDTH, write_split

FRAME = HEIGHT * WIDTH * 4  # bytes of RGB and labels


def test_only_what_the_budget_allows_is_kept(tmp_path):
    write_split(tmp_path, "train", {"a": 3})
    videos = open_parts(tmp_path, ()).videos
    video = videos.dataset.videos["a"]
    store = FrameStore(videos, budget=2 * FRAME)
    before = [store.read(video, frame) for frame in range(3)]
    for frame, (image, labels) in enumerate(before):
        np.testing.assert_array_equal(image, video.read_frame(frame))
        np.testing.assert_array_equal(labels, read_labels(videos.annotations, video, frame))
    shutil.rmtree(videos.annotations)
    for frame in (0, 1):
        assert store.read(video, frame) is before[frame]
    with pytest.raises(DatasetError):
        store.read(video, 2)
