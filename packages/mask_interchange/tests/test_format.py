"""The format as documented: a reader written from docs/mask_format.md alone, without a line of this package."""

import json
import struct
import zlib

import msgpack
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks, encode_video


def read_runs(string: bytes) -> list[int]:
    """Section 4."""
    runs, value, groups = [], 0, 0
    for character in string:
        code = character - 48
        value |= (code & 31) << (5 * groups)
        groups += 1
        if code & 32:
            continue
        if code & 16:
            value -= 1 << (5 * groups)
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value, groups = 0, 0
    return runs


def read_packed(packed: dict, count: int, height: int, width: int) -> list[list[list[bool]]]:
    """Masks as lists of rows."""
    strings = zlib.decompress(packed["zlib"])
    masks = []
    for length in struct.unpack(f"<{count}I", packed["lengths"]):
        string, strings = strings[:length], strings[length:]
        pixels = [i % 2 == 1 for i, run in enumerate(read_runs(string)) for _ in range(run)]
        masks.append([[pixels[x * height + y] for x in range(width)] for y in range(height)])
    assert strings == b""
    return masks


def read_file(data: bytes) -> dict:
    """Section 3: the payload with masks, scores and soft masks as plain lists."""
    magic, version, reserved, crc, length = struct.unpack("<8sHHIQ", data[:24])
    assert (magic, version, reserved) == (bytes.fromhex("8952564D41534B0A"), 1, 0)
    assert length == len(data) - 24
    assert crc == zlib.crc32(data[24:])
    video = msgpack.unpackb(data[24:])
    assert set(video) == {"video", "height", "width", "frames", "tracks"}
    count, height, width = len(video["frames"]), video["height"], video["width"]
    for track in video["tracks"]:
        assert set(track) == {"id", "text", "group", "masks", "scores", "key_frame", "support", "soft"}
        track["masks"] = read_packed(track["masks"], count, height, width)
        if track["support"] is not None:
            track["support"] = read_packed(track["support"], count, height, width)
        if track["scores"] is not None:
            track["scores"] = list(struct.unpack(f"<{count}f", track["scores"]))
        if (soft := track["soft"]) is not None:
            values = zlib.decompress(soft["zlib"])
            assert len(values) == count * soft["height"] * soft["width"]
            track["soft"] = (soft["height"], soft["width"], list(values))
    return video


def test_the_example_of_the_document():
    picture = np.array([[0, 1, 0], [0, 1, 1]], bool)
    track = MaskTrack.from_masks(Expression(id="0"), [picture])
    assert track.masks == (b"221O",)
    assert read_runs(b"221O") == [2, 2, 1, 1]


def test_an_independent_reader(masks):
    video = read_file(encode_video(masks))
    assert (video["video"], video["height"], video["width"]) == ("dog", 9, 13)
    assert video["frames"] == list(masks.frame_names)
    full, bare = video["tracks"]
    truth = masks.track("0")
    assert (full["id"], full["text"], full["group"]) == ("0", truth.expression.text, "2")
    assert full["masks"] == truth.stack().tolist()
    assert full["scores"] == truth.scores.tolist()
    assert full["key_frame"] == 1
    assert full["soft"] == (3, 5, truth.soft.ravel().tolist())
    assert np.array(full["support"]).mean() > 0.8
    assert bare["masks"] == np.zeros((4, 9, 13), bool).tolist()
    assert [bare[key] for key in ("text", "group", "scores", "key_frame", "support", "soft")] == [None] * 6


@given(arrays(bool, st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12))))
def test_an_independent_reader_of_any_mask(frames):
    track = MaskTrack.from_masks(Expression(id="0"), frames)
    names = tuple(str(i) for i in range(len(frames)))
    video = VideoMasks(video="v", size=frames.shape[1:], frame_names=names, tracks=(track,))
    assert read_file(encode_video(video))["tracks"][0]["masks"] == frames.tolist()


def test_the_run_folder(masks, tmp_path):
    manifest = RunManifest(
        producer="p",
        producer_version="1",
        settings={"weights": "random:0"},
        dataset={"name": "d", "split": None, "fingerprint": "f"},
    )
    MaskRun.create(tmp_path / "run", manifest).write(masks)
    files = sorted(str(path.relative_to(tmp_path / "run")) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [".lock", "run.json", "videos/dog.masks"]
    assert json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8")) == {
        "format_version": 1,
        "producer": "p",
        "producer_version": "1",
        "checkpoint_sha256": None,
        "settings": {"weights": "random:0"},
        "dataset": {"name": "d", "split": None, "fingerprint": "f"},
    }
    assert read_file((tmp_path / "run" / "videos" / "dog.masks").read_bytes())["video"] == "dog"
