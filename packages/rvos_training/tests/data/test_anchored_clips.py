"""Which frames a clip around an anchor holds, and that it shows its object."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rvos_training.data.anchored_clips import NEAR, AnchoredClips, frames_around
from rvos_training.data.data_check import check_training_videos
from rvos_training.data.data_parts import open_parts
from rvos_training.data.read_once import ReadOnce
from synthetic_data import write_split


@given(st.data(), st.integers(1, 30), st.integers(1, 8), st.integers(0, 9))
def test_frames_of_a_clip(data, count, length, seed):
    anchor = data.draw(st.integers(0, count - 1))
    frames = frames_around(anchor, count, length, np.random.default_rng(seed))
    assert anchor in frames
    assert len(frames) == length
    assert list(frames) == sorted(frames)
    assert set(frames) <= set(range(count))
    if length > 1 and anchor:
        assert any(anchor - NEAR <= frame < anchor for frame in frames)
    if length > 2 and anchor < count - 1:
        assert any(anchor < frame <= anchor + NEAR for frame in frames)
    if count >= length + 2 * NEAR and NEAR <= anchor < count - NEAR:
        assert len(set(frames)) == length


def test_others_come_from_the_whole_video():
    random = np.random.default_rng(0)
    drawn = [frames_around(10, 40, 5, random) for _ in range(300)]
    assert {frame for frames in drawn for frame in frames} == set(range(40))


@pytest.fixture
def clips(tmp_path):
    """Object 2 of video `a` is seen in its last frame alone, that of video `b` never."""
    write_split(tmp_path / "data", "train", {"a": 12, "b": 4}, hidden={"a": set(range(11)), "b": set(range(4))})
    videos = open_parts(tmp_path / "data", ()).videos
    presence = check_training_videos(videos, ReadOnce(tmp_path / "presence.json"))
    return AnchoredClips(videos.dataset, videos.annotations, presence, length=5)


def test_every_fifth_frame_is_an_anchor(clips):
    found = [(anchor.video, anchor.expression.id, anchor.position) for anchor in clips.anchors]
    assert found == [("a", "0", 0), ("a", "0", 5), ("a", "0", 10), ("a", "1", 0), ("a", "1", 5), ("a", "1", 10),
                     ("b", "0", 0)]  # fmt: skip


def test_every_clip_shows_its_object(clips):
    for index in range(len(clips)):
        for seed in range(10):
            clip = clips.clip(index, np.random.default_rng(seed))
            assert clip.visible.any()
            assert clip.masks.shape == (5, 48, 64)


def test_a_clip_is_drawn_from_the_generator_alone(clips):
    one, other, third = (clips.clip(0, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert (one.frames == other.frames).all()
    assert one.name == other.name
    assert (one.frames != third.frames).any()
