"""The `.masks` file: what goes in comes out, and nothing else comes out."""

import struct
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_interchange import (
    Expression,
    MaskError,
    MaskFileError,
    MaskTrack,
    VideoMasks,
    codec,
    decode_video,
    empty_mask,
    encode_video,
    read_masks,
    write_masks,
)
from mask_interchange.codec import check_room
from mask_interchange.names import is_name
from mask_interchange.track import soft_from_probabilities, soft_size

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(is_name)


@st.composite
def videos(draw):
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))
    tracks = []
    for name in draw(st.lists(names, max_size=3, unique_by=str.casefold)):
        scores = draw(st.none() | arrays(np.float32, shape[0], elements=st.floats(-100, 100, width=32)))
        small = (shape[0], draw(st.integers(1, shape[1])), draw(st.integers(1, shape[2])))
        tracks.append(
            MaskTrack.from_masks(
                Expression(id=name, text=draw(st.none() | words), group=draw(st.none() | words)),
                draw(arrays(bool, shape)),
                scores=scores,
                key_frame=draw(st.none() | st.integers(0, shape[0] - 1)),
                support=draw(st.none() | arrays(bool, shape)),
                soft=draw(st.none() | arrays(np.uint8, small)),
            )
        )
    frames = draw(st.lists(names, min_size=shape[0], max_size=shape[0], unique_by=str.casefold))
    return VideoMasks(video=draw(names), size=shape[1:], frame_names=tuple(frames), tracks=tuple(tracks))


def with_payload(payload: bytes) -> bytes:
    """A file with a sound header around any payload."""
    return struct.pack("<8sHHIQ", b"\x89RVMASK\n", 1, 0, zlib.crc32(payload), len(payload)) + payload


@given(videos())
def test_round_trip(video):
    assert decode_video(encode_video(video)) == video


def test_file_round_trip(masks, tmp_path):
    write_masks(tmp_path / "dog.masks", masks)
    assert read_masks(tmp_path / "dog.masks") == masks
    assert [p.name for p in tmp_path.iterdir()] == ["dog.masks"]


def test_scores_are_exact(masks):
    again = decode_video(encode_video(masks)).track("0")
    assert again.scores.dtype == np.float32
    assert again.key_frame == 1, "the first of two equal scores"


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_damage_is_always_noticed(masks, data):
    whole = encode_video(masks)
    kind = data.draw(st.sampled_from(["cut", "flip", "insert", "append"]))
    at = data.draw(st.integers(0, len(whole) - 1))
    if kind == "cut":
        damaged = whole[:at]
    elif kind == "flip":
        damaged = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    elif kind == "insert":
        damaged = whole[:at] + data.draw(st.binary(min_size=1, max_size=9)) + whole[at:]
    else:
        damaged = whole + data.draw(st.binary(min_size=1, max_size=9))
    with pytest.raises(MaskFileError):
        decode_video(damaged)


@given(st.binary(max_size=200))
def test_any_payload(payload):
    with pytest.raises(MaskFileError):
        decode_video(with_payload(payload))


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**63)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def paths(tree, path=()):
    """Every place in a tree of maps and arrays."""
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from paths(value, (*path, key))


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
def test_a_wrong_value_anywhere_is_an_error_or_a_sound_video(masks, data):
    """With the checksum right, only the fields' own checks stand between a garbled tree and the caller."""
    tree = msgpack.unpackb(encode_video(masks)[24:])
    *parents, last = data.draw(st.sampled_from([p for p in paths(tree) if p]))
    node = tree
    for key in parents:
        node = node[key]
    node[last] = data.draw(json_like)
    try:
        video = decode_video(with_payload(msgpack.packb(tree)))
    except MaskFileError:
        return
    assert decode_video(encode_video(video)) == video


def changed(masks: VideoMasks, path: str, value: object) -> bytes:
    tree = msgpack.unpackb(encode_video(masks)[24:])
    node = tree
    *parents, last = [int(p) if p.isdigit() else p for p in path.split(".")]
    for key in parents:
        node = node[key]
    node[last] = value
    return with_payload(msgpack.packb(tree))


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("video", "a/../etc/passwd", "payload", "contains '/'"),
        ("video", "", "payload", "is empty"),
        ("frames.1", "..", "payload", "begins with a dot"),
        ("frames.1", "00000", "payload", "'00000' again"),
        ("frames", [], "tracks[0].masks.lengths", "0 numbers"),
        ("height", 2**31, "height", "from 1 to 32768"),
        ("height", True, "height", "integer"),
        ("width", 32768, "tracks[0]", "fill 9x32768"),
        ("tracks.0.id", "a/b", "tracks[0]", "contains '/'"),
        ("tracks.1.id", "0", "payload", "'0' again"),
        ("tracks.0.text", "  ", "tracks[0]", "text with words in it, found an empty one"),
        ("tracks.0.group", 4, "tracks[0].group", "expected text"),
        ("tracks.0.key_frame", 4, "tracks[0].key_frame", "from 0 to 3"),
        ("tracks.0.key_frame", -1, "tracks[0].key_frame", "from 0 to 3"),
        ("tracks.0.scores", b"\0" * 12, "tracks[0].scores", "16 bytes, found 12"),
        ("tracks.0.scores", b"\0\0\xc0\x7f" * 4, "tracks[0]", "finite numbers, found nan at 0"),
        ("tracks.0.masks.lengths", b"\xff" * 16, "tracks[0].masks.lengths", "at most 132 bytes for a mask of 9x13"),
        ("tracks.0.masks.zlib", b"junk", "tracks[0].masks.zlib", "zlib stream"),
        ("tracks.0.soft.height", 10, "tracks[0].soft.height", "from 1 to 9"),
        ("tracks.0.soft.height", 2, "tracks[0].soft.zlib", "stream of 40 bytes"),
        ("tracks.0.soft", [1], "tracks[0].soft", "expected a map, found an array"),
        ("tracks", {}, "tracks", "expected an array, found a map"),
        ("tracks.0", {"id": "0"}, "tracks[0]", "expected the keys id, text"),
    ],
)
def test_faults_are_named(masks, path, value, field, message):
    with pytest.raises(MaskFileError) as caught:
        decode_video(changed(masks, path, value), Path("runs/x/dog.masks"))
    assert caught.value.field == field
    assert message in str(caught.value)
    assert str(caught.value).startswith("runs/x/dog.masks: ")


@pytest.mark.parametrize(
    ("header", "field"),
    [
        (struct.pack("<8sHHIQ", b"PK\x03\x04zip!", 1, 0, 0, 0), "magic"),
        (struct.pack("<8sHHIQ", b"\x89RVMASK\n", 2, 0, 0, 0), "version"),
        (struct.pack("<8sHHIQ", b"\x89RVMASK\n", 1, 9, 0, 0), "reserved"),
        (struct.pack("<8sHHIQ", b"\x89RVMASK\n", 1, 0, 0, 2**62), "payload length"),
        (struct.pack("<8sHHIQ", b"\x89RVMASK\n", 1, 0, 0, 5), "payload length"),
        (b"", "header"),
    ],
)
def test_headers(tmp_path, header, field):
    path = tmp_path / "x.masks"
    path.write_bytes(header)
    with pytest.raises(MaskFileError) as caught:
        read_masks(path)
    assert caught.value.field == field


def peak_memory(data: bytes) -> int:
    """Bytes that decoding takes at most, the file itself among them."""
    tracemalloc.start()
    try:
        with suppress(MaskFileError):
            decode_video(bytes(bytearray(data)))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def track_of(strings: list[bytes], name: str = "0", soft: dict[str, object] | None = None) -> dict[str, object]:
    lengths = np.array([len(counts) for counts in strings], "<u4").tobytes()
    return {
        "id": name,
        "text": None,
        "group": None,
        "masks": {"lengths": lengths, "zlib": zlib.compress(b"".join(strings), 9)},
        "scores": None,
        "key_frame": None,
        "support": None,
        "soft": soft,
    }


def file_of(size: tuple[int, int], tracks: list[dict[str, object]], frames: int) -> bytes:
    names = [f"{i:x}" for i in range(frames)]
    tree = {"video": "v", "height": size[0], "width": size[1], "frames": names, "tracks": tracks}
    return with_payload(msgpack.packb(tree))


def stripes(pixels: int) -> bytes:
    """The string of a mask that changes at every pixel: it packs a thousandfold."""
    return b"011" + b"0" * (pixels - 2)


def demanding_files():
    """Small files that make a reader hold much: (name, file, bytes declared after decompression, longest string)."""
    hd, empty = (720, 1280), empty_mask((720, 1280))
    striped = stripes(hd[0] * hd[1])
    yield "masks", file_of(hd, [track_of([striped] * 24)], 24), 24 * len(striped), len(striped)
    yield "one mask", file_of((2**10, 2**11), [track_of([stripes(2**21)])], 1), 2**21 + 1, 2**21 + 1
    soft = {"height": 720, "width": 1280, "zlib": zlib.compress(bytes(60 * 720 * 1280), 9)}
    yield "soft masks", file_of(hd, [track_of([empty] * 60, soft=soft)], 60), 60 * (720 * 1280 + len(empty)), len(empty)
    dot = empty_mask((1, 1))
    yield "frames", file_of((1, 1), [], 2**16), 0, 0
    yield "tracks", file_of((1, 1), [track_of([dot], str(i)) for i in range(2**12)], 1), 2**12, 1
    yield "empty masks", file_of((1, 1), [track_of([dot] * 2**15, str(i)) for i in range(8)], 2**15), 2**18, 1
    arrays = b"\xdd" + struct.pack(">I", 2**18)
    yield "empty arrays", with_payload(arrays + b"\x90" * 2**18), 0, 0
    yield "arrays of arrays", with_payload(b"\xdd\0\0\0\x08" + (arrays + b"\x90" * 2**18) * 8), 0, 0
    maps = b"".join(b"\xa2" + f"{i:02}".encode() + b"\x80" for i in range(8))
    nested = b"\xdd" + struct.pack(">I", 2**18) + (b"\x88" + maps) * 2**18
    yield "maps", with_payload(b"\x81\xa6tracks" + nested), 0, 0


@pytest.mark.parametrize(("data", "declared", "longest"), [pytest.param(*rest, id=i) for i, *rest in demanding_files()])
def test_memory_is_bounded(data, declared, longest):
    """The bound of section 5 of docs/mask_format.md; a fourth of its constant, because these files are small."""
    assert peak_memory(data) < 18 * len(data) + 2.25 * declared + 48 * longest + 2**24


def test_more_frames_and_tracks_than_a_file_holds(masks, monkeypatch):
    for name, field in (("MAX_FRAMES", "frames"), ("MAX_TRACKS", "tracks")):
        data = encode_video(masks)
        monkeypatch.setattr(codec, name, 1)
        with pytest.raises(MaskFileError, match=f"video 'dog': {field}: expected at most 1 in a file"):
            encode_video(masks)
        with pytest.raises(MaskFileError, match=r"max_array_len|more than 5 maps"):
            decode_video(data)
        monkeypatch.undo()


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(1, 50))
def test_room_is_planned_for_the_soft_masks_that_are_made(size, longest):
    made = soft_from_probabilities([np.zeros(size, np.float32)] * 2, longest)
    assert made.shape == (2, *soft_size(size, longest))


def test_room():
    check_room("v", (720, 1280), 300, 1, 720)
    with pytest.raises(MaskError, match=r"video 'v': .*take 2332800000 bytes.*give --soft-masks 322 or less"):
        check_room("v", (720, 1280), 2000, 4, 720)
    check_room("v", (720, 1280), 2000, 4, 322)
    check_room("v", (720, 1280), 2000, 4)
    with pytest.raises(MaskError, match="give no --soft-masks"):
        check_room("v", (720, 1280), 2**18, 2**14, 720)
    with pytest.raises(MaskError, match="at most 262144 frames, found 262145; split the video"):
        check_room("v", (720, 1280), 2**18 + 1, 4)


def test_a_zlib_stream_must_end_where_it_should(masks):
    tree = msgpack.unpackb(encode_video(masks)[24:])
    packed = tree["tracks"][0]["masks"]["zlib"]
    for odd in (packed[:-1], packed[:-5], b"", packed + b"x", packed + b"x" * 2**17):
        with pytest.raises(MaskFileError, match=r"tracks\[0\].masks.zlib: expected a zlib stream"):
            decode_video(changed(masks, "tracks.0.masks.zlib", odd))


def test_declared_sizes_are_not_allocated(masks):
    """Bombs: small files that declare much. What they may take is bounded by their own size."""
    bomb = zlib.compress(bytes(2**26))
    soft = {"height": 9, "width": 13, "zlib": bomb}
    huge_array = b"\xdd\xff\xff\xff\xff"
    for data in (
        changed(masks, "tracks.0.soft", soft),
        changed(masks, "tracks.0.masks.zlib", bomb),
        with_payload(b"\x85\xa5video" + huge_array),
        with_payload(b"\xc6\xff\xff\xff\xff"),
        with_payload(b"\x91" * 100_000),
        with_payload(b"\xdf\xff\xff\xff\xff" + b"\xa1a\xa1b" * 10),
    ):
        assert peak_memory(data) < 2**23


def test_a_budget_for_the_whole_file(masks, monkeypatch):
    monkeypatch.setattr(codec, "MAX_UNPACKED", 100)
    with pytest.raises(MaskFileError, match=r"video 'dog': bytes of masks: expected at most 100 in a file"):
        encode_video(masks)
    monkeypatch.undo()
    data = encode_video(masks)
    monkeypatch.setattr(codec, "MAX_UNPACKED", 100)
    with pytest.raises(MaskFileError, match="after decompression"):
        decode_video(data)


def test_absent_file(tmp_path):
    with pytest.raises(MaskFileError, match=r"absent\.masks: file: expected a readable file"):
        read_masks(tmp_path / "absent.masks")


def test_full_disk_leaves_the_old_file_and_nothing_else(masks, tmp_path, monkeypatch):
    path = tmp_path / "dog.masks"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(codec.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_masks(path, masks)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_write_leaves_nothing(masks, tmp_path, monkeypatch):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(codec.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_masks(tmp_path / "dog.masks", masks)
    assert list(tmp_path.iterdir()) == []


def test_real_masks_are_small(data):
    """Ground-truth masks take less than a thousandth of their float32 logits."""
    from PIL import Image

    files = sorted((data / "davis_mini/Annotations/bmx-trees").glob("*.png"))
    frames = [np.asarray(Image.open(file)) > 0 for file in files]
    track = MaskTrack.from_masks(Expression(id="0"), frames, scores=np.ones(len(frames)))
    names = tuple(file.stem for file in files)
    video = VideoMasks(video="bmx-trees", size=frames[0].shape, frame_names=names, tracks=(track,))
    assert len(encode_video(video)) < len(frames) * frames[0].size * 4 / 1000
