"""Frames are read by a thread before they are asked for, also those of the next video."""

from threading import Event, get_ident

import numpy as np
import pytest
from program_kit.errors import InputError
from program_kit.prepared_frames import FIRST_FRAMES, FRAMES_AHEAD, EncodedFrames, NextVideo, PreparedFrames
from program_kit.stretch import Stretch


class Numbers:
    """A video whose frames are their numbers; remembers which were read, and by whom."""

    size = (1, 1)

    def __init__(self, count=20, counted=20):
        self.count = count
        self.counted = counted
        self.read = []
        self.readers = set()
        self.reached = {index: Event() for index in range(counted)}

    def __len__(self):
        return self.counted

    def _frame(self, index):
        self.read.append(index)
        self.readers.add(get_ident())
        self.reached[index].set()
        return np.full((1, 1, 3), index, np.uint8)

    def read_frame(self, i):
        return self._frame(i)

    def frames(self, start=0):
        return map(self._frame, range(start, self.count))


class Features(float):
    nbytes = 1


def encoded(video, budget):
    return EncodedFrames(video, budget, lambda frame: Features(frame[0, 0, 0]))


def test_frames_are_prepared_by_another_thread_in_the_order_of_requests():
    video = Numbers()
    frames = PreparedFrames(video, lambda frame: int(frame[0, 0, 0]) * 10)
    frames.request([3, 4, 5])
    assert video.reached[5].wait(60)
    assert video.read == [3, 4, 5]
    assert [frames.get(index) for index in (4, 3, 4, 6)] == [40, 30, 40, 60]
    assert video.read == [3, 4, 5, 6]
    frames.drop(4)
    frames.drop(19)
    assert frames.get(4) == 40
    assert video.read == [3, 4, 5, 6, 4]
    assert get_ident() not in video.readers


def test_faults_come_where_the_frame_is_asked_for():
    frames = PreparedFrames(Numbers(count=5), lambda frame: int(frame[0, 0, 0]))
    frames.request(range(6))
    assert [frames.get(index) for index in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="ends before frame 5"):
        frames.get(5)


def test_features_are_computed_while_the_next_frames_are_read():
    video = Numbers()
    frames = encoded(video, 100)
    order = range(20)
    assert frames.get(0, order[1:]) == 0
    assert video.reached[FRAMES_AHEAD].wait(60)
    assert video.read == [*range(1 + FRAMES_AHEAD)]
    assert [frames.get(index, order[index + 1 :]) for index in order] == [*order]
    back = range(19, -1, -1)
    assert [frames.get(index, back[place:]) for place, index in enumerate(back, start=1)] == [*back]
    assert video.read == [*order]  # no frame whose features are kept


def test_the_next_video_is_read_while_another_one_is_worked_on():
    first, second = Numbers(), Numbers()
    part = range(5, 20)
    readers = NextVideo(lambda video: encoded(video, 100))
    working = readers.reader(first)
    readers.expect(lambda: (Stretch(second, part), 2))
    assert second.reached[7 + FIRST_FRAMES - 1].wait(60)
    assert second.read == [*range(7, 7 + FIRST_FRAMES)]
    assert working.get(0) == 0
    ahead = readers.reader(Stretch(second, part))
    assert [ahead.get(index) for index in range(2, 15)] == [*range(7, 20)]
    assert second.read == [*range(7, 20)]


def test_what_is_expected_in_vain_and_faults_in_it_change_nothing():
    first, second = Numbers(), Numbers()
    readers = NextVideo(lambda video: encoded(video, 100))
    readers.expect(lambda: (first, 0))
    assert readers.reader(Stretch(first, range(3, 9))).get(0) == 3
    readers.expect(lambda: 1 // 0)
    assert readers.reader(second).get(4) == 4
    readers.expect(lambda: (second, 18))
    assert readers.reader(second).get(19) == 19


def test_stretches_are_equal_where_they_hold_the_same_frames():
    video = Numbers()
    assert Stretch(video, range(2, 5)) == Stretch(video, range(2, 5))
    assert Stretch(video, range(2, 5)) != Stretch(video, range(2, 6))
    assert Stretch(video, range(2, 5)) != Stretch(Numbers(), range(2, 5))
    assert Stretch(video, range(20)) != video
