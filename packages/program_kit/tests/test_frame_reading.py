"""Frames in any order, and the budget of the cache."""

from dataclasses import dataclass

import numpy as np
import pytest
from program_kit.errors import InputError
from program_kit.frame_reading import FeatureCache, FrameReader


class CountedVideo:
    """Frame i is filled with i; says how it was read."""

    size = (2, 3)

    def __init__(self, frames=40, decodable=None):
        self.count, self.decodable = frames, frames if decodable is None else decodable
        self.passes, self.single = [], []

    def __len__(self):
        return self.count

    def read_frame(self, i):
        self.single.append(i)
        return np.full((*self.size, 3), i, np.uint8)

    def frames(self, start=0):
        self.passes.append(start)
        return (np.full((*self.size, 3), i, np.uint8) for i in range(start, self.decodable))


def test_consecutive_frames_come_from_one_pass():
    video = CountedVideo()
    reader = FrameReader(video)
    order = [3, 4, 5, 9, 39, 38, 37, 3, 4]
    assert [int(reader.read(i)[0, 0, 0]) for i in order] == order
    assert video.passes == [4, 4]  # 9 is near enough for the pass; the way back, and what follows a jump, is not
    assert video.single == [3, 39, 38, 37, 3]


def test_a_video_that_ends_early_is_said():
    reader = FrameReader(CountedVideo(frames=6, decodable=4))
    assert [int(reader.read(i)[0, 0, 0]) for i in range(4)] == [0, 1, 2, 3]
    with pytest.raises(InputError, match="6 frames by its own count, but ends before frame 4"):
        reader.read(4)


@dataclass
class Block:
    nbytes: int


def test_the_cache_keeps_its_budget_and_drops_what_was_used_longest_ago():
    cache, computed = FeatureCache(budget=25), []

    def get(key):
        return cache.get(key, lambda: computed.append(key) or Block(10))

    for key in ("a", "b", "a", "c", "a", "b"):
        get(key)
    assert computed == ["a", "b", "c", "b"]
    cache.drop("b")
    cache.drop("never there")
    get("d")
    get("a")
    assert computed == ["a", "b", "c", "b", "d"]
