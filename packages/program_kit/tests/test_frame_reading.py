"""Frames in any order, and the budget of the cache."""

from dataclasses import dataclass
from threading import Event, active_count, get_ident

import numpy as np
import pytest
from program_kit.errors import InputError
from program_kit.frame_reading import AheadReader, FeatureCache, FrameReader, read_ahead


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


def test_items_are_read_ahead_by_another_thread_and_no_further_than_said():
    made, threads, third = [], set(), Event()

    def items():
        for number in range(6):
            made.append(number)
            threads.add(get_ident())
            if number == 2:
                third.set()
            yield number

    found = read_ahead(items(), 2)
    assert next(found) == 0
    assert third.wait(60)  # made without being asked for
    assert made == [0, 1, 2]
    assert list(found) == [1, 2, 3, 4, 5]
    assert get_ident() not in threads
    assert len(threads) == 1


def test_an_error_comes_in_the_place_of_its_item():
    def items():
        yield "first"
        raise InputError("second is damaged")

    found = read_ahead(items(), 3)
    assert next(found) == "first"
    with pytest.raises(InputError, match="second is damaged"):
        next(found)
    assert list(read_ahead([])) == []


def test_who_stops_early_leaves_no_thread_behind():
    before = active_count()
    found = read_ahead(iter(range(6)))
    assert [next(found), next(found)] == [0, 1]
    assert active_count() > before
    found.close()
    assert active_count() == before


def test_the_next_video_is_read_while_another_one_is_worked_on():
    begun, third = [], Event()

    def frames(video):
        begun.append(video)
        for number in range(5):
            if (video, number) == ("b", 2):
                third.set()
            yield f"{video}{number}"

    reader = AheadReader(frames, 3)
    assert next(reader.read("a")) == "a0"
    reader.expect("b")
    assert third.wait(60)
    assert begun == ["a", "b"]
    assert list(reader.read("b")) == ["b0", "b1", "b2", "b3", "b4"]
    assert begun == ["a", "b"]
    reader.expect("c")
    assert list(reader.read("a")) == ["a0", "a1", "a2", "a3", "a4"]  # another one was expected
    assert list(reader.read("c")) == ["c0", "c1", "c2", "c3", "c4"]
