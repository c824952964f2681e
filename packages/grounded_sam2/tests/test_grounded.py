"""Sentences to boxes and masks: work is shared between sentences, and sharing changes nothing."""

import numpy as np
import pytest
import torch
from grounded_sam2 import GroundedSAM2Predictor, cli
from grounded_sam2.grounding import SENTENCES_AT_ONCE
from mask_interchange import MaskRun
from program_kit.errors import ProgramKitError
from typer.testing import CliRunner

from .drawn_videos import SIZE, lively_network, save_video

SENTENCES = ["A red square moving right", "the square", "noise.", "what is left of it", "a square"]
FRAMES = 6


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return save_video(tmp_path_factory.mktemp("frames") / "clip", FRAMES, SENTENCES)


@pytest.fixture
def predictor():
    predictor = GroundedSAM2Predictor.load(seed=0, config="tiny", device="cpu")
    predictor.segmenter.network.load_state_dict(lively_network().state_dict())
    return predictor


def plain(detector, frame, ids):
    """Boxes and scores of one sentence by the library's own calls."""
    image = detector._processor(images=frame, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        found = detector.network(pixel_values=image, input_ids=ids[None])
    best = found.logits[0].sigmoid().amax(-1).topk(5)
    height, width = frame.shape[:2]
    x, y, w, h = found.pred_boxes[0, best.indices].unbind(-1)
    corners = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], -1).clamp(0, 1)
    return corners * torch.tensor([width, height, width, height]), best.values


def test_boxes_are_those_of_plain_calls_one_sentence_at_a_time(predictor, video):
    detector = predictor.detector
    tokens = detector.tokens(SENTENCES)
    assert len({len(ids) for ids in tokens}) > 1  # else nothing is padded
    frame = video.read_frame(2)
    boxes, scores = detector.candidates(frame, tokens)
    assert boxes.shape == (len(SENTENCES), 5, 4)
    for index, ids in enumerate(tokens):
        expected_boxes, expected_scores = plain(detector, frame, ids)
        torch.testing.assert_close(scores[index], expected_scores, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(boxes[index], expected_boxes, rtol=1e-3, atol=1e-2)


def test_the_image_encoder_runs_once_a_frame(predictor, video, monkeypatch):
    calls = []
    encoder = predictor.detector.network.model.backbone.conv_encoder
    forward = encoder.forward
    monkeypatch.setattr(encoder, "forward", lambda *given: calls.append(len(given[0])) or forward(*given))
    assert len(SENTENCES) > SENTENCES_AT_ONCE
    predictor.predict(video)
    assert calls == [1] * FRAMES


@pytest.mark.parametrize("per_frame", [False, True])
def test_tracks(predictor, video, per_frame):
    predictor.per_frame, predictor.soft_masks = per_frame, 20
    progress = []
    masks = predictor.predict(video, lambda *step: progress.append(step))
    assert masks.expression_ids == tuple(str(i) for i in range(len(SENTENCES)))
    for track in masks.tracks:
        assert np.all((track.scores >= 0) & (track.scores <= 1))
        assert track.key_frame == int(track.scores.argmax())
        assert track.soft.shape == (FRAMES, 11, 20)
        assert track.stack().any()
    assert progress[-1] == (2 * FRAMES, 2 * FRAMES)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


def test_one_box_a_frame_or_one_for_all(predictor, video):
    carried = predictor.predict(video)
    predictor.per_frame = True
    each = predictor.predict(video)
    for one, other in zip(carried.tracks, each.tracks, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.mask(one.key_frame), other.mask(one.key_frame))


def test_not_there_is_an_answer(predictor, video):
    scores = [float(track.scores.max()) for track in predictor.predict(video).tracks]
    said = []
    predictor.threshold, predictor._say = sorted(scores)[2], said.append
    for track, best in zip(predictor.predict(video).tracks, scores, strict=True):
        assert track.stack().any() == (best >= predictor.threshold)
    assert len(said) == sum(best < predictor.threshold for best in scores) > 0
    assert "below the threshold" in said[0]
    predictor.threshold = 1.5
    assert not any(track.stack().any() for track in predictor.predict(video).tracks)


def test_the_run_says_which_tracks_the_threshold_emptied(tmp_path):
    """docs/mask_format.md, section 3: those whose scores are all below the threshold of run.json."""
    save_video(tmp_path / "clip", 2)
    arguments = ["--video", str(tmp_path / "clip"), "--weights", "random:0", "--config", "tiny", "--device", "cpu"]
    arguments += [option for sentence in SENTENCES for option in ("-e", sentence)]

    def run(out, *more):
        result = CliRunner().invoke(cli.grounded, [*arguments, "--out", str(out), *more])
        assert result.exit_code == 0, result.output
        return MaskRun.open(out), result.stderr

    scores = [float(track.scores.max()) for track in run(tmp_path / "all")[0].read("clip").tracks]
    limit = sorted(scores)[2]
    found, said = run(tmp_path / "some", "--threshold", repr(limit))
    threshold = found.manifest.settings["threshold"]
    emptied = [track for track in found.read("clip").tracks if track.scores.max() < threshold]
    below = [text for text, best in zip(SENTENCES, scores, strict=True) if best < limit]
    assert [track.expression.text for track in emptied] == below
    assert len(below) == 2
    assert not any(track.stack().any() for track in emptied)
    assert all(f"no masks for {text!r}" in said for text in below)


def test_one_frame(predictor, tmp_path):
    one = save_video(tmp_path / "one", 1, ["a square"])
    assert predictor.predict(one).track("0").stack().shape == (1, *SIZE)


def test_a_sentence_that_is_too_long_is_named(predictor):
    with pytest.raises(ProgramKitError, match=r"expression 'word word .*\.\.\.' has 15\d\d tokens, the detector takes"):
        predictor.detector.tokens(["word " * 300])


def test_a_path_is_no_video(predictor):
    with pytest.raises(TypeError, match="open_video"):
        predictor.predict("clip.mp4")
