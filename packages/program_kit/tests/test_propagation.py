"""Mask runs in, mask runs out: key frames become jobs, and what is found becomes tracks."""

from pathlib import Path

import numpy as np
import pytest
from mask_interchange import Expression, MaskTrack, VideoMasks, open_video
from mask_interchange.errors import MaskError
from mask_interchange.rle import empty_mask, encode_mask
from PIL import Image
from program_kit.errors import InputError
from program_kit.grown_track import GrownTrack
from program_kit.prompts import Prompt
from program_kit.propagation import propagate_labels, propagate_prompts, propagate_tracks, read_labels
from program_kit.propagator import Job
from program_kit.stretch import Stretch, parse_frames

from .example_propagator import Moved, Mover, Options

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


def lone(video, masks, key_frame=None):
    """A source of one track, the given masks by frame; nothing elsewhere."""
    shown = [masks.get(t, np.zeros(SIZE, bool)) for t in range(len(video))]
    track = MaskTrack.from_masks(video.expressions[0], shown, key_frame=key_frame)
    return VideoMasks(video=video.id, size=SIZE, frame_names=video.frame_names, tracks=(track,))


@pytest.fixture(scope="module")
def long_video(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames") / "long"
    folder.mkdir()
    for t in range(9):
        Image.fromarray(np.full((*SIZE, 3), t, np.uint8)).save(folder / f"{t:05d}.png")
    return open_video(folder, ["one"]).videos["long"]


def test_only_the_frames_asked_for_are_made(long_video, propagator):
    seen = []

    class Watched(Mover):
        def propagate(self, video, jobs):
            seen.append([int(video.read_frame(i)[0, 0, 0]) for i in range(len(video))])
            seen.append([int(frame[0, 0, 0]) for frame in video.frames(1)])
            return super().propagate(video, jobs)

    given = lone(long_video, {t: block(t) for t in (0, 3, 8)}, key_frame=3)
    progress = []
    (found,) = propagate_tracks(
        Watched(Options(step=4)), long_video, [given], lambda *step: progress.append(step), 24, frames=slice(2, 6)
    )
    assert seen == [[2, 3, 4, 5], [3, 4, 5]]
    masks = found.tracks[0]
    assert [masks.masks[t] == given.tracks[0].masks[t] for t in range(9)] == [True] * 2 + [False, True] + [
        False
    ] * 2 + [True] * 3
    np.testing.assert_array_equal(masks.mask(5), block(3 + 8))
    assert (masks.key_frame, masks.scores, len(masks.soft)) == (3, None, 9)
    assert progress[-1] == (3, 3)
    for frames in (slice(4, 6), slice(3, 4)):  # without the key frame, and without any other
        assert propagate_tracks(propagator, long_video, [given], frames=frames) == (given,)
    with pytest.raises(InputError, match=r"frames 9:12 are not in the video, which has frames 0 to 8"):
        propagate_tracks(propagator, long_video, [given], frames=slice(9, 12))


def test_between_references_both_ways_are_joined(long_video, propagator):
    """From frame 1 the block moves 4 pixels a frame, and so it does to frame 6; the two ways are 3 pixels apart."""
    given = lone(long_video, {1: block(0), 6: block(23)})
    progress = []
    (found,) = propagate_tracks(propagator, long_video, [given], lambda *step: progress.append(step), every_mask=True)
    track = found.tracks[0]
    for t, start in enumerate([0, 4, 11, 15, 19, 23, 27, 31], start=1):
        np.testing.assert_array_equal(track.mask(t), block(start))
    np.testing.assert_array_equal(track.mask(0)[:, :44], block(0)[:, 4:])
    assert track.key_frame == 1
    np.testing.assert_allclose(track.scores, [1, 1, *[13 / 19] * 4, 1, 1, 1])
    assert progress[-1] == (11, 11)  # four frames are done twice


def test_both_ways_are_cut_where_they_agree_most():
    grown = GrownTrack(SIZE, range(5), {0: encode_mask(block(0)), 4: encode_mask(block(20))}, None, None)
    for frame, forth, back in ((1, 2, 30), (2, 10, 11), (3, 28, 16)):
        for reference, start in ((0, forth), (4, back)):
            grown.add(Moved(0, frame, reference, block(start), 0.8))
    track = grown.track(Expression(id="x"), 0, [empty_mask(SIZE)] * 5)
    assert track.masks == tuple(encode_mask(block(start)) for start in (0, 2, 10, 16, 20))


def test_every_mask_of_a_track_is_a_reference_and_stays(long_video, propagator):
    given = lone(long_video, {t: block(t) for t in (0, 4, 5, 8)}, key_frame=4)
    (found,) = propagate_tracks(propagator, long_video, [given], every_mask=True)
    (jobs,) = propagator.calls
    assert [*jobs[0].references] == [0, 4, 5, 8]
    track = found.tracks[0]
    assert track.key_frame == 4
    assert [track.masks[t] == given.tracks[0].masks[t] for t in range(9)] == [t in (0, 4, 5, 8) for t in range(9)]
    whole = lone(long_video, {t: block(t) for t in range(9)})
    nothing = lone(long_video, {})
    assert propagate_tracks(propagator, long_video, [whole, nothing], every_mask=True) == (whole, nothing)


def test_objects_may_come_and_go_between_maps(long_video, propagator):
    first, second = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    first[2:12, 2:20], second[16:30, 24:40] = 3, 7
    found = propagate_labels(propagator, long_video, first, 2, more={6: second}, frames=slice(0, 8))
    assert found.expression_ids == ("3", "7")
    three, seven = found.tracks
    assert (three.key_frame, seven.key_frame) == (2, 6)
    np.testing.assert_array_equal(three.mask(2), first == 3)
    assert not three.mask(6).any()
    assert not seven.mask(2).any()
    np.testing.assert_array_equal(seven.mask(6), second == 7)
    assert not three.mask(8).any()
    with pytest.raises(InputError, match=r"key frame 8 is not among the frames 0 to 6"):
        propagate_labels(propagator, long_video, first, 2, more={8: second}, frames=slice(0, 7))


def test_prompts_in_a_stretch(long_video, propagator):
    box = Prompt(frame=4, box=(4, 8, 20, 24))
    found = propagate_prompts(propagator, long_video, {"a": box}, frames=slice(4, 5))
    assert [found.tracks[0].mask(t).any() for t in range(9)] == [t == 4 for t in range(9)]
    assert not propagator.calls
    with pytest.raises(InputError, match="not among the frames 5 to 8"):
        propagate_prompts(propagator, long_video, {"a": box}, frames=slice(5, None))


@pytest.mark.parametrize(
    ("text", "frames"),
    [("3:7", slice(3, 7)), (":7", slice(None, 7)), ("3:", slice(3, None)), (":", slice(None))],
)
def test_frames_as_text(text, frames):
    assert parse_frames(text) == frames


@pytest.mark.parametrize("text", ["", "3", "-1:4", "a:b", "1:2:3", "1.5:3", "9" * 30 + ":"])
def test_frames_of_another_form(text):
    with pytest.raises(InputError, match="expected A:B, as in 10:40"):
        parse_frames(text)


def test_a_stretch_counts_from_its_first_frame(long_video):
    part = Stretch(long_video, range(3, 7))
    assert (len(part), part.size) == (4, SIZE)
    assert [int(part.read_frame(i)[0, 0, 0]) for i in range(4)] == [3, 4, 5, 6]
    assert [int(frame[0, 0, 0]) for frame in part.frames(2)] == [5, 6]


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


def test_a_track_that_nothing_is_found_of_has_soft_masks_too(video, propagator):
    """A vote over probabilities needs them of every track."""
    given = source(video, (1, 2), [block(0), np.zeros(SIZE, bool), block(8), block(12)])
    (found,) = propagate_tracks(propagator, video, [given], soft_masks=24)
    soft = found.tracks[0].soft
    assert soft.shape == found.tracks[1].soft.shape
    assert [frame.max() for frame in soft] == [255, 0, 255, 255]
    assert found.tracks[0].masks == given.tracks[0].masks


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

    def check_memory(self, size, objects, references):
        assert (size, references) == (SIZE, 1)
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
