"""Mask runs in, mask runs out: key frames become jobs, and what is found becomes tracks."""

from pathlib import Path

import numpy as np
import pytest
from mask_interchange import Expression, MaskTrack, VideoMasks, open_video
from mask_interchange.errors import MaskError
from PIL import Image
from program_kit.errors import InputError
from program_kit.prompts import Prompt
from program_kit.propagation import (
    Job,
    propagate_labels,
    propagate_prompts,
    propagate_tracks,
    read_labels,
)

from .example_propagator import Mover, Options

SIZE = (32, 48)
FRAMES = 4


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames") / "clip"
    folder.mkdir()
    for t in range(FRAMES):
        Image.fromarray(np.full((*SIZE, 3), t, np.uint8)).save(folder / f"{t:05d}.png")
    return open_video(folder, ["one", "two"]).videos["clip"]


@pytest.fixture
def propagator():
    return Mover(Options(step=4))


def block(start):
    mask = np.zeros(SIZE, bool)
    mask[8:24, start : start + 16] = True
    return mask


def source(video, key_frames=(1, 2), masks=None, size=None, names=None):
    tracks = []
    for expression, key_frame in zip(video.expressions, key_frames, strict=True):
        given = [block(2 * t) for t in range(FRAMES)] if masks is None else masks
        tracks.append(MaskTrack.from_masks(expression, given, key_frame=key_frame))
    return VideoMasks(video=video.id, size=size or SIZE, frame_names=names or video.frame_names, tracks=tuple(tracks))


def test_key_frames_keep_their_masks_and_the_rest_is_new(video, propagator):
    given = source(video)
    progress = []
    (found,) = propagate_tracks(propagator, video, [given], lambda *step: progress.append(step))
    assert found.expression_ids == given.expression_ids
    assert found.frame_names == given.frame_names
    for before, after in zip(given.tracks, found.tracks, strict=True):
        assert after.key_frame == before.key_frame
        assert after.masks[before.key_frame] == before.masks[before.key_frame]
        assert after.expression == before.expression
        assert after.scores is None
        assert after.soft is None
    np.testing.assert_array_equal(found.tracks[0].mask(3), block(2 + 8))
    np.testing.assert_array_equal(found.tracks[1].mask(3), block(4 + 4))
    assert progress == [(done, 2 * (FRAMES - 1)) for done in range(1, 2 * (FRAMES - 1) + 1)]


def test_presence_becomes_scores_where_a_network_tells_it(video):
    (found,) = propagate_tracks(Mover(Options(sure=True)), video, [source(video)])
    np.testing.assert_allclose(found.tracks[0].scores, [1 / 2, 1, 1 / 4, 1 / 5])
    assert found.tracks[0].key_frame == 1


def test_several_sources_equal_one_at_a_time(video, propagator):
    sources = [source(video), source(video, (0, 3)), source(video, (2, 1))]
    together = propagate_tracks(propagator, video, sources)
    for given, found in zip(sources, together, strict=True):
        (alone,) = propagate_tracks(propagator, video, [given])
        assert alone == found


def test_equal_key_frames_are_propagated_once(video, propagator):
    """Equal in frame and mask, in one source or in several; each track keeps its expression."""
    sources = [source(video, (1, 1)), source(video, (2, 1))]
    progress = []
    found = propagate_tracks(propagator, video, sources, lambda *step: progress.append(step))
    (jobs,) = propagator.calls
    assert [job.key_frame for job in jobs] == [1, 2]
    assert progress[-1] == (2 * (FRAMES - 1), 2 * (FRAMES - 1))
    assert found[0].tracks[0].masks == found[0].tracks[1].masks == found[1].tracks[1].masks
    assert [track.expression for track in found[0].tracks] == list(video.expressions)


def test_soft_masks_are_kept_beside_the_masks(video, propagator):
    (found,) = propagate_tracks(propagator, video, [source(video)], soft_masks=24)
    soft = found.tracks[0].soft
    assert soft.shape == (FRAMES, 16, 24)
    assert soft[1].max() == 255  # the key frame is certain
    assert soft[2].max() == round(0.8 * 255)


def test_an_empty_key_frame_keeps_the_track(video, propagator):
    masks = [block(0), np.zeros(SIZE, bool), block(8), block(12)]
    given = source(video, (1, 2), masks)
    (found,) = propagate_tracks(propagator, video, [given])
    assert found.tracks[0] == given.tracks[0]
    assert found.tracks[1] != given.tracks[1]


def test_one_frame_keeps_the_tracks(tmp_path, propagator):
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "0.png")
    one = next(iter(open_video(tmp_path, ["one"]).videos.values()))
    track = MaskTrack.from_masks(one.expressions[0], [block(0)], key_frame=0)
    given = VideoMasks(video=one.id, size=SIZE, frame_names=one.frame_names, tracks=(track,))
    assert propagate_tracks(propagator, one, [given]) == (given,)


def test_objects_of_a_label_map_become_tracks(video, propagator):
    labels = np.zeros(SIZE, np.uint8)
    labels[2:12, 2:20], labels[16:30, 24:40] = 3, 7
    progress = []
    found = propagate_labels(propagator, video, labels, 2, lambda *step: progress.append(step), soft_masks=24)
    assert found.expression_ids == ("3", "7")
    assert [track.expression for track in found.tracks] == [Expression(id="3"), Expression(id="7")]
    for track, object_id in zip(found.tracks, (3, 7), strict=True):
        np.testing.assert_array_equal(track.mask(2), labels == object_id)
        np.testing.assert_array_equal(track.mask(3)[:, 4:], (labels == object_id)[:, :-4])
        assert track.soft.shape == (FRAMES, 16, 24)
    overlap = [found.tracks[0].mask(t) & found.tracks[1].mask(t) for t in range(FRAMES)]
    assert not np.any(overlap)
    assert progress[-1] == (FRAMES - 1, FRAMES - 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"names": ("a", "b", "c", "d")}, r"video 'clip': the masks are of other frames \(a\)"),
        ({"key_frames": (None, 1)}, r"video 'clip', expression '0': the masks name no key frame"),
        (
            {"size": (16, 48), "masks": [block(0)[:16]] * FRAMES},
            r"video 'clip': the masks are 16x48, the frames 32x48",
        ),
    ],
)
def test_masks_that_do_not_fit_the_video(video, propagator, changes, message):
    with pytest.raises(InputError, match=message):
        propagate_tracks(propagator, video, [source(video, **changes)])
    assert not propagator.calls


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (Job(FRAMES, block(0).astype(np.uint8)), r"key frame 4 is not in the video, which has frames 0 to 3"),
        (Job(-1, block(0).astype(np.uint8)), r"key frame -1"),
        (Job(1, np.ones((4, 5), np.uint8)), r"mask of key frame 1 is 4 x 5, .* 32 x 48"),
        (Job(1, np.zeros(SIZE, np.uint8)), r"mask of key frame 1 is empty"),
    ],
)
def test_label_maps_that_do_not_fit_the_video(video, propagator, job, message):
    with pytest.raises(InputError, match=message):
        propagate_labels(propagator, video, job.labels, job.key_frame)
    assert not propagator.calls


class Limited(Mover):
    """A propagator that has memory for two objects."""

    def prompted_masks(self, video, prompts):
        pytest.fail("work has begun")

    def check_memory(self, size, objects):
        assert size == SIZE
        if sum(objects) > 2:
            raise InputError(f"{sum(objects)} objects, 2 fit")


def test_more_objects_than_fit_are_refused_before_any_work(video):
    limited = Limited(Options())
    labels = np.zeros(SIZE, np.uint8)
    labels[0, :3] = 1, 2, 3
    box = Prompt(box=(0, 0, 4, 4))
    for call in (
        lambda: propagate_labels(limited, video, labels),
        lambda: propagate_tracks(limited, video, [source(video), source(video, (0, 3))]),
        lambda: propagate_prompts(limited, video, {"a": box, "b": box, "c": box}),
    ):
        with pytest.raises(InputError, match=r"[34] objects, 2 fit"):
            call()
    assert not limited.calls
    propagate_tracks(limited, video, [source(video)])


def test_prompts_whose_soft_masks_no_file_holds_are_refused_before_any_work(video, monkeypatch):
    monkeypatch.setattr("mask_interchange.codec.MAX_SOFT", 10)
    with pytest.raises(MaskError, match="soft masks"):
        propagate_prompts(Limited(Options()), video, {"a": Prompt(box=(0, 0, 4, 4))}, soft_masks=24)


@pytest.mark.parametrize("path", ["clip.mp4", Path("clip.mp4")])
def test_a_path_is_no_video(propagator, path):
    for call in (lambda: propagate_tracks(propagator, path, []), lambda: propagate_labels(propagator, path, block(0))):
        with pytest.raises(TypeError, match=r"path clip.mp4; mask_interchange.open_video opens it"):
            call()


def save(path, labels, mode="P"):
    picture = Image.fromarray(labels)
    if mode == "P":
        picture.putpalette([0, 0, 0, *(i % 256 for i in range(1, 766))])  # black, then a colour for each id
    picture.save(path)


def test_label_maps_are_read_as_ids(tmp_path):
    labels = np.array([[0, 1], [2, 10]], np.uint8)
    for mode in ("P", "L"):
        save(tmp_path / "mask.png", labels, mode)
        np.testing.assert_array_equal(read_labels(tmp_path / "mask.png", 10), labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((2, 2), np.uint8), "all pixels are background"),
        (
            np.full((2, 2), 255, np.uint8),
            r"object id 255 is beyond the network's limit, ids are 1 to 10.*--more-objects",
        ),
        (np.zeros((2, 2, 3), np.uint8), "found mode RGB"),
    ],
)
def test_label_maps_that_are_none(tmp_path, labels, message):
    save(tmp_path / "mask.png", labels, "" if labels.ndim == 3 else "P")
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / "mask.png", 10)


def test_more_objects_may_be_allowed(tmp_path):
    save(tmp_path / "mask.png", np.array([[0, 200]], np.uint8))
    assert read_labels(tmp_path / "mask.png").max() == 200


def test_label_maps_that_cannot_be_read(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="not a JPEG or PNG image"):
        read_labels(tmp_path / "mask.png", 10)
    with pytest.raises(InputError, match="no such image file"):
        read_labels(tmp_path / "absent.png", 10)
