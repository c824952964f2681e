"""Overlays, cut-outs and masks of a run: every frame, its size, its time, and colour where the mask is."""

import json
import math
import string
from fractions import Fraction

import av
import numpy as np
import pytest
from fusion_core.cli import app
from fusion_core.rendering.colours import PALETTE, colours
from fusion_core.rendering.legend import PLACEHOLDER, FontError, make_legend, missing_letters
from fusion_core.rendering.overlay import lay_over
from fusion_core.rendering.video_writer import H264, frame_times, padded, video_writer
from hypothesis import given, settings
from hypothesis import strategies as st
from mask_interchange import (
    MaskRun,
    MaskTrack,
    RunManifest,
    VideoMasks,
    import_annotations,
    import_coco,
    open_dataset,
    open_video,
)
from PIL import Image, ImageFont
from typer.testing import CliRunner

EXPRESSIONS = ["the man in red", "a dog", "the tall tree behind the house on the left side of the street", "it"]


def decoded(path):
    """Frames RGB uint8 [T, H, W, 3] and their times in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), [f.pts * f.time_base for f in frames]


def ramp(t, size):
    """A smooth frame that says its number by its brightness."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.stack([60 + 10 * t + 0 * x, 40 + 100 * y / size[0], 40 + 100 * x / size[1]], axis=-1).astype(np.uint8)


def film(path, size=(96, 128), times=tuple(range(8)), base=Fraction(1, 25), rotation=0, pixel_aspect=1):
    """A video file whose frames have these times in units of `base`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4", "bf": "2"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = base
        stream.codec_context.sample_aspect_ratio = Fraction(pixel_aspect)
        if rotation:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a rotated video; 18 and later can")
            stream.set_display_rotation(rotation)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(ramp(number, size), format="rgb24")
            frame.pts, frame.time_base = time, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def run_of(folder, path, expressions):
    """A run on a video file: a square that goes from left to right, another place for every expression."""
    dataset = open_video(path, expressions)
    (video,) = dataset.videos.values()
    height, width = video.size
    tracks = []
    for number, expression in enumerate(video.expressions):
        masks = np.zeros((len(video), height, width), bool)
        for t, mask in enumerate(masks):
            mask[height // 2 + 24 * number : height // 2 + 20 + 24 * number, 2 * t + 30 : 2 * t + 60] = True
        tracks.append(MaskTrack.from_masks(expression, masks, scores=np.linspace(1, 0, len(video))))
    run = MaskRun.create(folder, RunManifest(producer="test", producer_version="1", dataset=dataset.identity))
    run.write(VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tuple(tracks)))
    return run


def export(forms, *arguments):
    return CliRunner().invoke(app, ["export", "--format", forms, *map(str, arguments)])


@pytest.mark.parametrize(
    ("times", "base", "rotation"),
    [
        (range(8), Fraction(1, 25), 0),
        (range(8), Fraction(1001, 30000), 0),
        ((0, 40, 80, 200, 233, 266, 1000), Fraction(1, 1000), 0),  # as phones write it
        (range(4), Fraction(1, 30), 90),
    ],
    ids=["25", "ntsc", "variable", "turned"],
)
def test_overlay_has_every_frame_at_its_time_and_size(tmp_path, times, base, rotation):
    path = film(tmp_path / "film.mp4", times=tuple(times), base=base, rotation=rotation)
    run = run_of(tmp_path / "run", path, ["a square"])
    result = export("overlay", run.path, "--video", path, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    frames, shown_at = decoded(tmp_path / "out" / "overlay" / "film.mp4")
    _, expected = decoded(path)
    assert frames.shape[1:3] == ((128, 96) if rotation else (96, 128))
    assert [time - shown_at[0] for time in shown_at] == [time - expected[0] for time in expected]
    with av.open(str(tmp_path / "out" / "overlay" / "film.mp4")) as container:
        duration = container.streams.video[0].duration * container.streams.video[0].time_base
    assert duration > shown_at[-1] - shown_at[0]  # the last frame stays for a while too


@pytest.mark.parametrize(("rotation", "expected"), [(0, Fraction(4, 3)), (90, Fraction(3, 4))])
def test_overlay_has_the_pixels_of_its_source(tmp_path, rotation, expected):
    path = film(tmp_path / "film.mp4", rotation=rotation, pixel_aspect=Fraction(4, 3))
    run = run_of(tmp_path / "run", path, ["a square"])
    assert export("overlay", run.path, "--video", path, "--out", tmp_path / "out").exit_code == 0
    with av.open(str(tmp_path / "out" / "overlay" / "film.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == expected


def with_sound(path, start=0.0, seconds=1.0, container="mp4", codec="aac"):
    """The film with a tone of 440 Hz that begins `start` seconds after its first frame."""
    film(path.with_suffix(".silent.mp4"))
    rate = 44_100
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)).astype(np.float32)
    with av.open(str(path.with_suffix(".silent.mp4"))) as source, av.open(str(path), "w", format=container) as out:
        copied = out.add_stream_from_template(source.streams.video[0])
        stream = out.add_stream(codec, rate=rate, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copied
                out.mux(packet)
        for at in range(0, len(tone) - 1023, 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, at : at + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = at + round(start * rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def heard(path):
    """The mono sound of a file and its first time; None if it has none."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        frames = list(container.decode(audio=0))
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]), frames[0].time, frames[0].sample_rate


@pytest.mark.parametrize(
    ("start", "container", "codec"), [(0, "mp4", "aac"), (0.1, "mp4", "aac"), (0, "matroska", "flac")]
)
def test_audio_keeps_the_sound(tmp_path, start, container, codec):
    path = with_sound(tmp_path / "film.mkv", start, container=container, codec=codec)
    run = run_of(tmp_path / "run", path, ["a square"])
    result = export("overlay", run.path, "--video", path, "--out", tmp_path / "out", "--audio")
    assert result.exit_code == 0, result.output
    _, shown_at = decoded(tmp_path / "out" / "overlay" / "film.mp4")
    assert [time - shown_at[0] for time in shown_at] == [Fraction(t, 25) for t in range(8)]
    sound, first, rate = heard(tmp_path / "out" / "overlay" / "film.mp4")
    assert abs(first + np.argmax(np.abs(sound) > 0.2) / rate - start) < 0.05
    tone = sound[int((0.15 - first) * rate) : int((0.25 - first) * rate)]
    peak = np.abs(np.fft.rfft(tone * np.hanning(len(tone)))).argmax() * rate / len(tone)
    assert abs(peak - 440) < 20
    assert len(sound) / rate < 0.5, "no longer than the film"


def test_sound_is_asked_for_and_may_be_missing(tmp_path):
    path = with_sound(tmp_path / "film.mp4")
    run = run_of(tmp_path / "run", path, ["a square"])
    assert export("overlay", run.path, "--video", path, "--out", tmp_path / "out").exit_code == 0
    assert heard(tmp_path / "out" / "overlay" / "film.mp4") is None
    silent = film(tmp_path / "silent.mp4")
    run = run_of(tmp_path / "quiet", silent, ["a square"])
    result = export("overlay", run.path, "--video", silent, "--out", tmp_path / "other", "--audio")
    assert result.exit_code == 0, result.output
    assert "note: video silent: has no sound; neither has the overlay" in result.stderr


def test_overlay_is_coloured_inside_masks_and_unchanged_outside(tmp_path):
    path = film(tmp_path / "film.mp4")
    run = run_of(tmp_path / "run", path, ["a square", "a lower square"])
    assert export("overlay", run.path, "--video", path, "--out", tmp_path / "out").exit_code == 0
    frames, _ = decoded(tmp_path / "out" / "overlay" / "film.mp4")
    source = list(next(iter(open_video(path).videos.values())).frames())
    first, second = (track.stack() for track in run.read("film").tracks)
    outside = ~(first | second)
    outside[:, :40] = False  # where the expressions stand
    for t, frame in enumerate(frames):
        change = np.abs(frame.astype(int) - source[t]).max(axis=2)
        assert np.median(change[outside[t]]) <= 3
        assert np.percentile(change[outside[t]], 90) <= 12  # compression, and colour at half resolution
        for mask, colour in ((first[t], PALETTE[0]), (second[t], PALETTE[1])):
            expected = 0.55 * source[t][mask].mean(axis=0) + 0.45 * np.array(colour)
            assert np.abs(np.median(frame[mask], axis=0) - expected).max() < 15
    assert np.abs(frames[:, :10].astype(int) - np.stack(source)[:, :10]).mean() > 20  # the expressions


def test_all_outputs_of_a_data_set(world, tmp_path):
    run = world.runs / "a"
    out = tmp_path / "out"
    result = export("overlay,png,rgba,coco", run, "--dataset", world.dataset, "--out", out, "--fps", "6")
    assert result.exit_code == 0, result.output
    dataset = open_dataset(world.dataset)
    opened = MaskRun.open(run)
    for name, video in dataset.videos.items():
        frames, times = decoded(out / "overlay" / f"{name}.mp4")
        assert frames.shape == (len(video), *video.size, 3)
        assert times == [Fraction(t, 6) for t in range(len(video))]
        masks = opened.read(name)
        for track in masks.tracks:
            for t, frame in enumerate(video.frame_names):
                picture = np.asarray(Image.open(out / "rgba" / name / track.expression.id / f"{frame}.png"))
                np.testing.assert_array_equal(picture[..., 3], 255 * track.mask(t))
                np.testing.assert_array_equal(picture[..., :3], video.read_frame(t))
    for again in import_annotations(out / "masks", dataset=dataset):
        assert [track.masks for track in again.tracks] == [track.masks for track in opened.read(again.video).tracks]
    assert [masks.video for masks in import_coco(out / "coco.json")] == opened.videos()
    assert json.loads((out / "coco.json").read_text())["categories"][0]["name"] == world.evil


def test_masks_alone_need_no_pass_over_the_frames(fresh, tmp_path):
    for file in fresh.dataset.rglob("*.jpg"):
        file.unlink()
    result = export("coco,png", fresh.runs / "a", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["coco.json", "masks"]


def test_one_bad_video_does_not_stop_the_others(fresh, tmp_path):
    first, second = open_dataset(fresh.dataset).videos
    broken = fresh.dataset / "JPEGImages" / first / "00010.jpg"
    broken.write_bytes(b"broken")
    result = export("overlay", fresh.runs / "a", "--dataset", fresh.dataset, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert f"failed: video {first}" in result.output
    assert "00010.jpg" in result.output
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["overlay", f"{second}.mp4"]


def test_masks_of_another_video_are_refused_by_name(tmp_path):
    run = run_of(tmp_path / "run", film(tmp_path / "film.mp4"), ["a square"])
    (tmp_path / "other").mkdir()
    other = film(tmp_path / "other" / "film.mp4", times=range(5))
    result = export("overlay", run.path, "--video", other, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "run run: number of frames 8, but the video has 5" in result.output
    assert list((tmp_path / "out" / "overlay").iterdir() if (tmp_path / "out" / "overlay").exists() else ()) == []


def test_a_folder_with_files_is_left_alone(world, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    result = export("overlay", world.runs / "a", "--dataset", world.dataset, "--out", tmp_path)
    assert result.exit_code == 2
    assert "new or empty folder" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@settings(max_examples=15)
@given(
    size=st.tuples(st.integers(2, 70), st.integers(2, 70)),
    gaps=st.lists(st.fractions(Fraction(1, 240), 2, max_denominator=2000), max_size=5),
)
def test_any_size_and_timing_can_be_written(tmp_path_factory, size, gaps):
    path = tmp_path_factory.mktemp("any") / "video.mp4"
    times = [Fraction(0)]
    for gap in gaps:
        times.append(times[-1] + gap)
    with video_writer(path, H264, size, times) as write:
        for t in range(len(times)):
            write(ramp(t, size))
    frames, shown_at = decoded(path)
    assert frames.shape == (len(times), *padded(size, 2), 3)
    assert all(abs(a - b) <= Fraction(1, 90_000) for a, b in zip(shown_at, times, strict=True))


class Source:
    def __init__(self, times):
        self.times = times


class Video:
    def __init__(self, times):
        self.source = Source(times)

    def __len__(self):
        return len(self.source.times)


def test_time_stamps_that_lead_nowhere_become_an_even_rate():
    half = Fraction(1, 2)
    assert frame_times(Video([Fraction(3), Fraction(4), Fraction(9)]), half) == [0, 1, 6]
    assert frame_times(Video([None, None, None]), half) == [0, 2, 4]
    assert frame_times(Video([Fraction(0), Fraction(5), Fraction(1)]), half) == [0, half, 1]
    assert frame_times(Video([Fraction(1)]), half) == [0]


def test_colours_differ_however_many():
    many = colours(60)
    assert len(set(many)) == 60
    for count in (1, 3, 7, 20):
        assert many[:count] == colours(count)
        nearest = min(math.dist(a, b) for i, a in enumerate(many[:count]) for b in many[:i]) if count > 1 else 99
        assert nearest > (60 if count <= 7 else 20)


@given(
    size=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    count=st.integers(1, 20),
    length=st.integers(1, 100),
)
@settings(max_examples=15, deadline=None)
def test_legends_fit_into_any_frame(size, count, length):
    text = (string.ascii_letters + " ") * 4
    legend = make_legend([(text[:length].strip() or "a", colour) for colour in colours(count)], size)
    height, width = legend.cover.shape[:2]
    assert width <= size[1]
    assert height <= max(0.5 * size[0], 20)
    frame = np.full((*size, 3), 128, np.uint8)
    legend.lay_over(frame)
    assert (frame[height:] == 128).all()
    assert (frame[:, width:] == 128).all()


@pytest.mark.parametrize("size", [(180, 320), (480, 854), (1080, 1920), (1920, 1080)])
def test_expressions_are_legible(size):
    """White letters of enough height on a dark ground, each expression beside a patch of its colour."""
    palette = colours(len(EXPRESSIONS))
    legend = make_legend(list(zip(EXPRESSIONS, palette, strict=True)), size)
    frame = np.full((*size, 3), 255, np.uint8)  # the worst ground for white letters
    legend.lay_over(frame)
    shown = frame[: legend.cover.shape[0], : legend.cover.shape[1]]
    for colour in palette:
        assert (shown == colour).all(axis=2).sum() >= 25
    is_letter = (shown > 200).all(axis=2)
    rows = np.flatnonzero(is_letter.any(axis=1))
    tallest = max(map(len, np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)))
    assert tallest >= min(size) / 40
    ground = np.median(shown.reshape(-1, 3), axis=0)
    assert ground.max() < 100  # contrast above 4.5 : 1


def test_later_masks_lie_over_earlier_ones_and_frames_stay():
    frame = np.full((20, 20, 3), 100, np.uint8)
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    shown = lay_over(frame, [(mask, (255, 0, 0)), (mask, (0, 0, 255))])
    assert (frame == 100).all()
    assert tuple(shown[5, 10]) == (0, 0, 255)  # the outline
    assert shown[10, 10, 2] > shown[10, 10, 0] > shown[10, 10, 1]
    assert (shown[~mask] == 100).all()


def test_letters_that_no_font_has_become_placeholders(tmp_path):
    unknown, *shown = (
        make_legend([(text, (255, 0, 0))], (100, 100)).colour for text in ("a \ue000", f"a {PLACEHOLDER}", "a ?")
    )
    assert any(np.array_equal(unknown, one) for one in shown)
    assert missing_letters("a \ue000 dog") == "\ue000"
    with pytest.raises(FontError, match="not a readable font"):
        make_legend([("a", (255, 0, 0))], (100, 100), tmp_path / "no.ttf")


def test_letters_beyond_ascii_come_from_a_font_of_the_system(tmp_path):
    try:
        ImageFont.truetype("DejaVuSans.ttf", 10)
    except OSError:
        pytest.skip("no DejaVuSans.ttf on this system")
    plain = make_legend([("der Loewe", (255, 0, 0))], (200, 200))
    accented = make_legend([("der Löwe", (255, 0, 0))], (200, 200))
    assert plain.cover.shape != accented.cover.shape


def test_no_letter_and_no_odd_size_loses_the_result(tmp_path):
    path = film(tmp_path / "film.mp4")
    frames = np.stack(list(open_video(path).videos["film"].frames()))[:, :95, :127]
    (folder := tmp_path / "odd").mkdir()
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{t:05d}.png")
    run = run_of(tmp_path / "run", folder, ["a \ue000 square"])
    result = export("rgba,overlay", run.path, "--video", folder, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert r"note: video odd: no font here has '\ue000'; the overlay shows a placeholder" in result.stderr
    assert f"note: video odd: the overlay of {frames.shape[2]}x95 pixels is padded to" in result.stderr
    with av.open(str(tmp_path / "out" / "overlay" / "odd.mp4")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    assert len(list((tmp_path / "out" / "rgba").rglob("*.png"))) == len(frames)


def test_a_font_that_cannot_be_read_is_refused_before_the_work(tmp_path):
    path = film(tmp_path / "film.mp4")
    run = run_of(tmp_path / "run", path, ["a square"])
    result = export("overlay", run.path, "--video", path, "--out", tmp_path / "out", "--font", tmp_path / "no.ttf")
    assert result.exit_code == 2
    assert "not a readable font" in result.output
    assert not (tmp_path / "out").exists()
