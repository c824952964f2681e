"""Videos in windows: every frame once, the object of the window before, and memory of one window."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mask_interchange import Expression, encode_mask
from rvos_layers.blocks.heads import QueryOutputs
from rvos_layers.errors import RVOSLayersError
from rvos_layers.inference.config import ResizeRule, Windows
from rvos_layers.inference.predictor import VideoPredictor
from rvos_layers.inference.windows import (
    GrowingTrack,
    WindowMasks,
    agreement,
    best_continuation,
    cut,
    progress_of_window,
)


@st.composite
def windows(draw):
    frames = draw(st.integers(2, 12))
    return Windows(frames=frames, overlap=draw(st.integers(1, frames // 2)))


@given(windows(), st.integers(1, 60))
def test_windows_cover_a_video(chosen, length):
    found = list(cut((np.array(t) for t in range(length)), chosen))
    assert len(found) == chosen.count(length)
    assert {int(frame) for _, clip in found for frame in clip} == set(range(length))
    for number, (start, clip) in enumerate(found):
        assert [int(frame) for frame in clip] == list(range(start, start + len(clip)))
        assert len(clip) == min(chosen.frames, length)
        if number:
            shared = found[number - 1][0] + chosen.frames - start
            assert shared == chosen.overlap or (number == len(found) - 1 and shared > chosen.overlap)


def test_without_windows_a_video_is_one_clip():
    assert [(start, len(clip)) for start, clip in cut([np.zeros(1)] * 5, None)] == [(0, 5)]


@given(windows(), st.integers(1, 60))
def test_each_frame_has_the_masks_of_the_window_whose_middle_is_nearer(chosen, length):
    """Masks, scores and soft masks tell which window they come from."""
    track = GrowingTrack(Expression(id="0"), (1, 64))
    bounds = []
    for number, (start, clip) in enumerate(cut([np.zeros(1)] * length, chosen)):
        bounds.append((start, start + len(clip)))
        mask = encode_mask(np.arange(64)[None] < number)
        soft = np.full((len(clip), 1, 1), number, np.uint8)
        scores = np.full(len(clip), number, np.float32)
        track.add(start, WindowMasks([mask] * len(clip), scores, soft, None))
    made = track.whole()
    assert len(made) == length
    for t, score in enumerate(made.scores):
        distances = [abs(a + b - 1 - 2 * t) if a <= t < b else 10**6 for a, b in bounds]
        assert distances[int(score)] == min(distances)
        assert made.mask(t).sum() == score == made.soft[t]


def test_the_last_window_s_masks_of_shared_frames():
    track = GrowingTrack(Expression(id="0"), (1, 1))
    assert track.overlap(0) is None
    for start in (0, 3):
        outline = torch.arange(start, start + 5)[:, None, None]
        track.add(start, WindowMasks([encode_mask(np.zeros((1, 1), bool))] * 5, np.zeros(5, np.float32), None, outline))
    assert track.overlap(6).flatten().tolist() == [6, 7]


def test_agreement_is_the_mean_iou_over_shared_frames():
    before = torch.tensor([[[True, True]], [[False, False]]])
    masks = torch.tensor([[[[True, False]], [[False, False]]], [[[False, False]], [[True, False]]]])
    assert agreement(masks, before).tolist() == [0.75, 0.0]


def test_a_query_that_agrees_beats_one_with_a_better_score():
    before = torch.tensor([[[True, False]]])
    masks = torch.tensor([[[[False, True]], [[True, False]]], [[[True, False]], [[False, True]]]])
    assert best_continuation(torch.tensor([[0.9, 0.9], [0.2, 0.2]]), masks, before) == 1
    assert best_continuation(torch.tensor([[0.9, 0.9], [0.2, 0.2]]), ~masks, before) == 0


def test_progress_is_that_of_all_windows():
    told = []
    for number in range(2):
        report = progress_of_window(number, 2, lambda done, total: told.append((done, total)))
        report(0, 10)
        report(10, 10)
    assert told == [(0, 20), (10, 20), (10, 20), (20, 20)]


@pytest.mark.parametrize(("frames", "overlap"), [(None, 3), (4, 3), (10, 0)])
def test_bad_windows(frames, overlap):
    with pytest.raises(RVOSLayersError, match="overlap"):
        Windows.of(frames, overlap)


class LeftAndRight(torch.nn.Module):
    """Query 0 has the left half of every frame, query 1 the right; dark clips prefer the left, others the right."""

    def __init__(self):
        super().__init__()
        self.clips = []

    def encode_video(self, frames):
        self.clips.append(frames.shape[1])
        return SimpleNamespace(levels=[frames], frames=frames.shape[1], is_dark=bool(frames[0, 0].mean() < 0))

    def encode_text(self, tokens):
        return None

    def decode(self, video, text):
        preferred = torch.tensor([1.0, 0.5] if video.is_dark else [0.5, 1.0])
        shape = (1, video.frames, 2, 1)
        places = torch.arange(2.0)[:, None].expand(shape)
        return QueryOutputs(
            logits=preferred[:, None].expand(shape),
            boxes=places.expand(1, video.frames, 2, 4),
            states=places,
            centres=places,
        )

    def predict_masks(self, video, text, outputs):
        columns = torch.arange(8) < 4
        return torch.where(outputs.states.bool(), ~columns, columns)[..., None, :].expand(-1, -1, -1, 8, -1) * 8.0 - 4


def predictor(chosen):
    tokens = SimpleNamespace(to=lambda device: None)
    return VideoPredictor(LeftAndRight(), lambda texts: tokens, ResizeRule(short=8), windows=chosen)


def test_a_window_takes_the_object_of_the_one_before():
    frames = [np.full((8, 8, 3), 30 if t < 2 else 200, np.uint8) for t in range(7)]
    joined = predictor(Windows(frames=4, overlap=2))
    (track,) = joined.segment(frames, "the left one")
    assert joined.model.clips == [4, 4, 4]
    assert all(mask[:, :4].all() and not mask[:, 4:].any() for mask in track.stack())
    assert track.scores[0] > track.scores[-1], "the later windows alone prefer the other"
    (alone,) = predictor(Windows(frames=4, overlap=2)).segment(frames[2:], "the right one")
    assert all(mask[:, 4:].all() and not mask[:, :4].any() for mask in alone.stack())


def test_a_short_video_is_one_clip():
    frames = [np.full((8, 8, 3), 30, np.uint8)] * 4
    whole, cut_up = predictor(None), predictor(Windows(frames=4, overlap=1))
    assert whole.segment(frames, "a dog") == cut_up.segment(frames, "a dog")
    assert cut_up.model.clips == [4]
