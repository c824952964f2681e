"""Lazy masks: the same masks as from the whole reader, and only those checked that are asked for."""

import zlib

import msgpack
import numpy as np
import pytest
from mask_interchange import MaskFileError, MaskRun, RunManifest, encode_video, lazy_masks, write_masks
from mask_interchange.lazy_masks import open_masks

HEADER = 24


@pytest.fixture
def file(masks, tmp_path):
    write_masks(tmp_path / "dog.masks", masks)
    return tmp_path / "dog.masks"


def changed(masks, change):
    """The bytes of a file whose payload was changed."""
    tree = msgpack.unpackb(encode_video(masks)[HEADER:])
    change(tree)
    payload = msgpack.packb(tree)
    head = encode_video(masks)[:12]
    return head + zlib.crc32(payload).to_bytes(4, "little") + len(payload).to_bytes(8, "little") + payload


def test_everything_but_soft_masks_is_there(file, masks):
    lazy = open_masks(file)
    assert (lazy.video, lazy.size, lazy.frame_names) == (masks.video, masks.size, masks.frame_names)
    assert lazy.nbytes > 0
    for one, other in zip(lazy.tracks, masks.tracks, strict=True):
        assert (one.expression, one.key_frame, len(one)) == (other.expression, other.key_frame, len(other))
        assert (one.scores is None) == (other.scores is None)
        for i in range(len(other)):
            assert one.counts(i) == other.masks[i]
            np.testing.assert_array_equal(one.mask(i), other.mask(i))


def test_only_what_is_asked_for_is_decoded(file, monkeypatch):
    seen = []
    monkeypatch.setattr(lazy_masks, "check_counts", lambda counts, size: seen.append(counts))
    track = open_masks(file).tracks[0]
    assert seen == []
    assert [track.counts(2)] == seen


def test_a_faulty_mask_is_said_when_it_is_asked_for(masks, tmp_path):
    def spoil(tree):
        strings = [*masks.tracks[0].masks[:3], b"1"]
        packed = np.array([len(one) for one in strings], "<u4").tobytes(), zlib.compress(b"".join(strings))
        tree["tracks"][0]["masks"] = dict(zip(("lengths", "zlib"), packed, strict=True))

    path = tmp_path / "dog.masks"
    path.write_bytes(changed(masks, spoil))
    track = open_masks(path).tracks[0]
    assert track.counts(2) == masks.tracks[0].masks[2]
    with pytest.raises(MaskFileError, match=r"dog\.masks: expression '0', frame 3: expected a sound mask"):
        track.counts(3)


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree["tracks"][0].update(scores=np.full(4, np.nan, "<f4").tobytes()),
        lambda tree: tree["tracks"][0].update(id="../x"),
        lambda tree: tree["tracks"][1].update(id="0"),
        lambda tree: tree["frames"].append("00000"),
        lambda tree: tree["tracks"][0]["masks"].update(lengths=b""),
        lambda tree: tree["tracks"][0].update(key_frame=4),
    ],
)
def test_what_is_around_the_masks_is_checked_at_once(masks, tmp_path, change):
    path = tmp_path / "dog.masks"
    path.write_bytes(changed(masks, change))
    with pytest.raises(MaskFileError):
        open_masks(path)


def test_a_damaged_file_is_refused(file):
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    with pytest.raises(MaskFileError, match="CRC-32"):
        open_masks(file)


def test_a_run_opens_its_videos(masks, tmp_path):
    dataset = {"name": "x", "split": None, "fingerprint": None}
    run = MaskRun.create(tmp_path / "run", RunManifest(producer="x", producer_version="1", dataset=dataset))
    run.write(masks)
    assert run.open_video("dog").tracks[0].counts(1) == masks.tracks[0].masks[1]
    (tmp_path / "run" / "videos" / "dog.masks").rename(tmp_path / "run" / "videos" / "cat.masks")
    with pytest.raises(MaskFileError, match="'cat', as the file is called"):
        run.open_video("cat")
