"""Video files: every frame, upright, in order, and the same one however it is reached."""

import gc
import json
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mask_interchange import DatasetError, open_video, video_cursor, video_file, video_index
from mask_interchange.video_file import VideoFile
from mask_interchange.video_stream import Damage


def picture(i: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A frame that tells its number by the position of a white square, and its top left by a red corner."""
    frame = np.full((height, width, 3), 90, np.uint8)
    x, y = 4 * (i % 14), 12 + 8 * (i // 14)
    frame[y : y + 6, x : x + 6] = 255
    frame[:8, :8] = (230, 20, 20)
    return frame


def number_of(frame: np.ndarray) -> int:
    bright = frame.min(axis=2) > 200
    rows, columns = np.nonzero(bright)
    return round((np.median(columns) - 2.5) / 4) + 14 * round((np.median(rows) - 14.5) / 8)


def write_video(path: Path, count: int, codec: str = "libx264", rotation: int = 0, **options: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.options = {"crf": "10", **options} if codec == "libx264" else options
        if codec != "libx264":
            stream.bit_rate = 4_000_000
        if rotation:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this PyAV cannot write a rotated video; 18 and later can")
            stream.set_display_rotation(rotation)
        for i in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        container.mux(stream.encode())
    return path


FILES = {
    "b-frames.mp4": ("libx264", {"bf": "3", "g": "12"}),
    "open-gop.mkv": ("libx264", {"bf": "2", "g": "9", "x264-params": "open-gop=1"}),
    "one-key-frame.mp4": ("libx264", {"g": "300"}),
    "refresh.mkv": ("libx264", {"g": "10", "x264-params": "intra-refresh=1"}),
    "simple.avi": ("mpeg4", {}),
    "raw.ts": ("libx264", {"bf": "2", "g": "10"}),
}


@pytest.mark.parametrize("name", FILES)
def test_every_frame_once_and_the_same_by_number(tmp_path, name, monkeypatch):
    codec, options = FILES[name]
    count = 41
    data = open_video(write_video(tmp_path / name, count, codec, **options), ["a square"])
    video = data.videos[Path(name).stem]
    streamed = list(video.frames())
    assert [number_of(frame) for frame in streamed] == list(range(count))
    assert video.frame_names == tuple(f"{i:05d}" for i in range(count))
    assert video.size == (48, 64)
    monkeypatch.setattr(video_file, "CACHE_BYTES", 3 * streamed[0].nbytes)
    for i in [7, 8, 6, 40, 0, 39, 13, 12, 11, 25, 1]:
        np.testing.assert_array_equal(video.read_frame(i), streamed[i])
    assert [number_of(frame) for frame in video.frames(5, 9)] == [5, 6, 7, 8]


def test_times_are_those_of_the_file(tmp_path):
    video = open_video(write_video(tmp_path / "even.mp4", 5, bf="2")).videos["even"]
    times = video.source.times
    assert [time - times[0] for time in times] == [Fraction(t, 25) for t in range(5)]


@pytest.mark.parametrize(("rotation", "corner"), [(90, (-8, 0)), (180, (-8, -8)), (-90, (0, -8))])
def test_rotation_is_applied(tmp_path, rotation, corner):
    """`rotation` is counter-clockwise: the red corner of the stored frame moves from the top left accordingly."""
    video = open_video(write_video(tmp_path / "turned.mp4", 3, rotation=rotation)).videos["turned"]
    frame = video.read_frame(1)
    assert frame.shape[:2] == video.size == ((64, 48) if rotation % 180 else (48, 64))
    y, x = corner
    patch = np.roll(frame, (-y, -x), axis=(0, 1))[:8, :8].astype(int)
    assert patch[2:6, 2:6, 0].min() > 150
    assert patch[2:6, 2:6, 1].max() < 100


# The display matrix's places a, b, c and d, and what they do to a frame [H, W, 3].
ORIENTATIONS = {
    "as stored": ((1, 0, 0, 1), lambda frame: frame),
    "mirrored": ((-1, 0, 0, 1), np.fliplr),
    "upside down": ((1, 0, 0, -1), np.flipud),
    "half a turn": ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
    "transposed": ((0, 1, 1, 0), lambda frame: frame.swapaxes(0, 1)),
    "turned right": ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
    "turned left": ((0, -1, 1, 0), lambda frame: np.rot90(frame, 1)),
    "transversed": ((0, -1, -1, 0), lambda frame: np.rot90(frame, 2).swapaxes(0, 1)),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_frames_are_turned_and_mirrored_as_the_file_says(tmp_path, name):
    (a, b, c, d), shown = ORIENTATIONS[name]
    stored = write_video(tmp_path / "stored.mp4", 2)
    whole = bytearray(stored.read_bytes())
    at = whole.index(b"tkhd") + 44  # the track header's display matrix, behind its other fields
    one = 1 << 16
    assert struct.unpack_from(">9i", whole, at) == (one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", whole, at, a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    (tmp_path / "shown.mp4").write_bytes(whole)
    frame = open_video(stored).videos["stored"].read_frame(1)
    video = open_video(tmp_path / "shown.mp4").videos["shown"]
    np.testing.assert_array_equal(video.read_frame(1), shown(frame))
    assert video.size == shown(frame).shape[:2]


def write_cover(container):
    cover = container.add_stream("png", rate=1)
    cover.width, cover.height, cover.pix_fmt = 20, 10, "rgb24"
    cover.disposition = Disposition.attached_pic
    return cover


def mux_cover(container, cover):
    container.mux(cover.encode(av.VideoFrame.from_ndarray(np.full((10, 20, 3), 200, np.uint8), format="rgb24")))
    container.mux(cover.encode())


def test_a_picture_of_the_cover_is_not_the_video(tmp_path):
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        cover = write_cover(container)
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        mux_cover(container, cover)
        for i in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        container.mux(stream.encode())
    video = open_video(tmp_path / "film.mp4").videos["film"]
    assert (len(video), video.size) == (3, (48, 64))


def test_a_song_with_a_cover_is_no_video(tmp_path):
    with av.open(str(tmp_path / "song.mp3"), "w") as container:
        sound = container.add_stream("mp3", rate=44_100)
        cover = write_cover(container)
        mux_cover(container, cover)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), format="s16", layout="mono")
        frame.sample_rate = 44_100
        container.mux(sound.encode(frame))
        container.mux(sound.encode())
    with pytest.raises(DatasetError, match="only a picture of the cover"):
        open_video(tmp_path / "song.mp3")


def test_a_title_that_is_not_utf8(tmp_path, sound_video):
    path = tmp_path / "title.mp4"
    assert b"Lavf" in sound_video
    path.write_bytes(sound_video.replace(b"Lavf", b"L\xe9vf"))
    assert len(open_video(path).videos["title"]) == 12


def test_a_cut_off_file_gives_the_frames_it_has(tmp_path):
    path = write_video(tmp_path / "cut.ts", 40, bf="0", g="10")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    video = open_video(path).videos["cut"]
    assert 5 < len(video) < 40
    assert [number_of(f) for f in video.frames(0, 5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.txt", b"hello, this is a text file\n" * 50),
        ("text.mp4", b"hello, this is a text file\n" * 50),
        ("noise.mkv", bytes(range(256)) * 40),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=name):
        open_video(path, ["a dog"])


@pytest.fixture(scope="module")
def sound_video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "v.mp4", 12, g="4").read_bytes()


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_damaged_video_gives_frames_or_a_dataset_error(tmp_path, sound_video, data):
    raw = bytearray(sound_video)
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=5)):
        raw[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "v.mp4"
    path.write_bytes(raw[: data.draw(st.just(len(raw)) | st.integers(0, len(raw)))])
    with suppress(DatasetError):
        video = open_video(path).videos["v"]
        assert len(list(video.frames())) == len(video)
        assert video.read_frame(len(video) - 1).shape == (*video.size, 3)


@pytest.mark.parametrize(
    "playlist", ["ffconcat version 1.0\nfile 'secret.mp4'\n", "#EXTM3U\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n"]
)
def test_a_playlist_cannot_open_other_files(tmp_path, playlist):
    write_video(tmp_path / "secret.mp4", 3)
    write_video(tmp_path / "secret.ts", 3)
    (tmp_path / "innocent.mp4").write_text(playlist)
    with pytest.raises(DatasetError):
        list(open_video(tmp_path / "innocent.mp4").videos["innocent"].frames())


def test_sound_only(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(DatasetError, match="expected a video"):
        open_video(path)


def test_absent():
    with pytest.raises(DatasetError, match="no such video file or folder"):
        open_video("nowhere.mp4")


def cut(path: Path, share: float) -> Path:
    """The first part of a file whose header promises all of it."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def faststart(path: Path, count: int = 40) -> Path:
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1", "bf": "0", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(count):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_lost_tail_is_said_and_skipped_if_the_user_wants(tmp_path, name):
    whole = open_video(faststart(tmp_path / name)).videos["v"]
    assert (len(whole), whole.notes()) == (40, [])
    path = cut(tmp_path / name, 0.7)
    with pytest.raises(DatasetError, match=r"damaged or missing; FFmpeg decodes [0-9]+ frames.*--damaged skip"):
        len(open_video(path).videos["v"])
    video = open_video(path, damaged="skip").videos["v"]
    assert 3 < len(video) < 40
    assert [number_of(frame) for frame in video.frames(0, 4)] == [0, 1, 2, 3]
    assert video.read_frame(len(video) - 1).shape == (48, 64, 3)
    (note,) = video.notes()
    assert "video 'v': " in note
    assert f"FFmpeg decodes {len(video)} frames" in note


def with_a_broken_packet(folder: Path) -> Path:
    path = faststart(folder / "v.mp4")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        place, size = packets[20].pos, packets[20].size
    raw = bytearray(path.read_bytes())
    raw[place : place + size] = b"\xff" * size
    path.write_bytes(raw)
    return path


def test_a_packet_that_cannot_be_decoded_is_skipped_if_the_user_wants(tmp_path):
    path = with_a_broken_packet(tmp_path)
    with pytest.raises(DatasetError, match=r"about [1-5] of 40 frames are damaged or missing; FFmpeg decodes"):
        len(open_video(path).videos["v"])
    video = open_video(path, damaged="skip").videos["v"]
    assert len(list(video.frames())) == len(video) >= 35
    assert number_of(video.read_frame(len(video) - 1)) == 39


def test_sound_that_lasts_longer_promises_no_frames(tmp_path):
    for suffix in ("mp4", "mkv"):
        path = tmp_path / f"v.{suffix}"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            sound = container.add_stream("aac", rate=16000)
            for i in range(10):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
            container.mux(stream.encode())
            for i in range(40):
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                silence.sample_rate, silence.pts = 16000, 1024 * i
                container.mux(sound.encode(silence))
            container.mux(sound.encode())
        assert len(open_video(path).videos["v"]) == 10


def test_the_shape_of_pixels(tmp_path):
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        container.mux(stream.encode())
    assert open_video(path).videos["v"].source.pixel_aspect == Fraction(4, 3)
    assert open_video(faststart(tmp_path / "square.mp4")).videos["square"].source.pixel_aspect == 1


@pytest.fixture
def starts(monkeypatch):
    """The key frames from which frames are decoded to be read, in order; None for the start of the file."""
    seen = []

    def noted(move):
        def moved(self, *key_frame):
            seen.append(*key_frame or (None,))
            return move(self, *key_frame)

        return moved

    monkeypatch.setattr(video_cursor.Cursor, "_begin", noted(video_cursor.Cursor._begin))
    monkeypatch.setattr(video_cursor.Cursor, "_seek", noted(video_cursor.Cursor._seek))
    monkeypatch.setattr(video_file, "CACHE_BYTES", 8 * 48 * 64 * 3)  # eight frames
    return seen


@pytest.mark.parametrize("name", ["b-frames.mp4", "open-gop.mkv", "one-key-frame.mp4"])
def test_the_decoder_stays_open_and_reads_on(tmp_path, starts, name):
    codec, options = FILES[name]
    video = VideoFile(write_video(tmp_path / name, 41, codec, **options))
    assert [number_of(video.read(i)) for i in range(41)] == list(range(41))
    assert len(starts) == 1
    assert [number_of(video.read(i)) for i in range(40, -1, -1)] == list(range(40, -1, -1))
    assert len(starts) <= 2 + 41 / 8 + 41 / 9  # once for what the cache holds, or for a group of pictures


def test_a_key_frame_to_which_seeking_fails_is_tried_once(tmp_path, starts, monkeypatch):
    video = VideoFile(write_video(tmp_path / "v.mp4", 41, g="10"))
    video.index.grow()
    video.index.checksums[20] ^= 1
    assert [number_of(video.read(i)) for i in (25, 27, 12)] == [25, 27, 12]
    assert starts == [None, 20, None, 10]
    assert number_of(video.read(39)) == 39


@pytest.mark.parametrize("name", FILES)
def test_a_frame_that_the_packets_promise_needs_no_index(tmp_path, name):
    codec, options = FILES[name]
    video = VideoFile(write_video(tmp_path / name, 41, codec, **options))
    assert [number_of(video.read_early(i)) for i in (30, 28, 39, 3)] == [30, 28, 39, 3]
    assert len(video.index) <= 1
    assert video.keeps_promises()
    with pytest.raises(DatasetError, match="expected a frame from 0 to 40, found 41"):
        video.read_early(41)


def test_a_promise_that_is_broken_is_told(tmp_path):
    video = VideoFile(with_a_broken_packet(tmp_path), "skip")
    video.read_early(38)
    assert not video.keeps_promises()


def test_a_file_whose_packets_promise_nothing_breaks_no_promise(tmp_path):
    path = write_video(tmp_path / "raw.264", 20)
    video = VideoFile(path)
    assert number_of(video.read_early(12)) == 12
    assert video.keeps_promises()


def test_a_transport_stream_with_b_frames_is_read_from_key_frames(tmp_path, starts):
    video = VideoFile(write_video(tmp_path / "v.ts", 41, bf="2", g="10"))
    video.index.grow()
    wanted = [35, 12, 25, 38, 14]
    assert [number_of(video.read(i)) for i in wanted] == wanted
    assert starts.count(None) == 1
    assert not video.index.unreachable


def test_what_is_no_error_of_ffmpeg_ends_the_index_with_an_error(tmp_path, monkeypatch):
    video = VideoFile(write_video(tmp_path / "v.mp4", 5))

    def odd(frame):
        raise RuntimeError("odd")

    monkeypatch.setattr(video_index, "checksum", odd)
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"v\.mp4: cannot be read: RuntimeError\('odd'\)"):
            video.index.grow()


def test_a_stream_that_appears_while_the_file_is_read_is_damage():
    damage = Damage()
    assert damage.attempt(lambda: [][0]) is None  # what PyAV does at the end of such a file
    assert damage.broken == 1


def test_a_file_that_vanished_is_an_error_every_time(tmp_path):
    path = write_video(tmp_path / "v.mp4", 60, g="10")
    video = VideoFile(path)
    video.index.grow()
    assert number_of(video.read(41)) == 41
    path.unlink()
    for i in (2, 55, 12, 33):  # the first one is read from the start, so the file is opened anew
        with pytest.raises(DatasetError, match="not a readable video"):
            video.read(i)
    write_video(path, 60, g="10")
    assert number_of(video.read(12)) == 12


@pytest.mark.parametrize("name", ["b-frames.mp4", "open-gop.mkv", "one-key-frame.mp4"])
def test_a_stretch_is_read_from_the_key_frame_before_it(tmp_path, starts, name):
    codec, options = FILES[name]
    video = VideoFile(write_video(tmp_path / name, 41, codec, **options))
    assert [number_of(frame) for frame in video.frames(33, 37)] == [33, 34, 35, 36]
    assert starts == [None]
    video.index.grow()
    assert [number_of(frame) for frame in video.frames(33, 37)] == [33, 34, 35, 36]
    before = [k for k in video.index.key_frames if 0 < k <= 33]
    assert starts[1:] == [None, *before[-1:]]
    for k in video.index.key_frames:
        video.index.checksums[min(k + 4, 40)] ^= 1  # seeking leads to other frames, as it seems
    assert [number_of(frame) for frame in video.frames(33, 41)] == list(range(33, 41))


def test_frames_that_were_read_do_not_stay_in_memory(tmp_path):
    path = write_video(tmp_path / "v.mp4", 20)
    gc.collect()
    gc.disable()
    try:
        for _ in VideoFile(path).frames(0, 20):
            pass
        assert sum(isinstance(one, av.VideoFrame) for one in gc.get_objects()) < 10
    finally:
        gc.enable()


def test_a_frame_is_read_before_the_file_is_known(tmp_path):
    video = VideoFile(write_video(tmp_path / "v.mp4", 40, bf="2", g="10"))
    assert number_of(video.read(0)) == 0
    assert video.size == (48, 64)
    assert len(video.index) == 1
    assert number_of(video.read(12)) == 12
    assert (len(video.index), video.index.is_complete) == (13, False)
    with ThreadPoolExecutor() as pool:
        growing = [pool.submit(video.index.grow) for _ in range(2)]
        reading = [pool.submit(video.read, i) for i in (5, 30, 2, 39)]
        assert [number_of(one.result()) for one in reading] == [5, 30, 2, 39]
        assert [len(one.result()) for one in growing] == [40, 40]
    assert len(video.frame_names) == 40
    with pytest.raises(DatasetError, match="expected a frame from 0 to 39, found 40"):
        video.read(40)


def test_a_damaged_file_is_refused_every_time(tmp_path):
    path = cut(faststart(tmp_path / "v.mp4"), 0.7)
    video = VideoFile(path)
    assert number_of(video.read(0)) == 0
    for _ in range(2):
        with pytest.raises(DatasetError, match="damaged or missing"):
            video.index.grow()


@pytest.fixture
def kept(tmp_path):
    """A video whose index is kept in the folder `kept`, and a function that opens it."""
    path = write_video(tmp_path / "v.mp4", 12, bf="2", g="4")

    def reopened():
        video = VideoFile(path)
        video.index.keep_in(tmp_path / "kept")
        return video

    reopened().index.grow()
    return path, reopened


def test_the_index_is_kept_on_disk(kept, monkeypatch):
    path, reopened = kept
    decoded = list(VideoFile(path).frames(0, 12))

    def refused(*_, **__):
        raise AssertionError("the file is decoded to make an index")

    monkeypatch.setattr(video_index, "decoded", refused)
    video = reopened()
    assert (video.size, len(video.frame_names), video.pixel_aspect) == ((48, 64), 12, 1)
    assert video.times == tuple(Fraction(t, 25) + video.times[0] for t in range(12))
    for i in (11, 5, 6, 0):
        np.testing.assert_array_equal(video.read(i), decoded[i])


def test_another_video_in_its_place_gets_another_index(kept):
    path, reopened = kept
    write_video(path, 15)
    assert len(reopened().frame_names) == 15
    os.utime(path, ns=(1, 1))
    assert not reopened().index.is_complete


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: "",
        lambda content: "[]",
        lambda content: json.dumps({**content, "checksums": []}),
        lambda content: json.dumps({**content, "key_frames": [99]}),
        lambda content: json.dumps({**content, "size": [0, 10**9]}),
        lambda content: json.dumps({**content, "tick": "1/0"}),
        lambda content: json.dumps({key: value for key, value in content.items() if key != "damage"}),
    ],
)
def test_a_damaged_index_is_made_again(kept, tmp_path, spoil):
    _, reopened = kept
    [file] = (tmp_path / "kept").glob("*.json")
    file.write_text(spoil(json.loads(file.read_text())))
    video = reopened()
    assert not video.index.is_complete
    assert len(video.frame_names) == 12
    assert reopened().index.is_complete
