"""Run lengths against pycocotools and against a slow reading of the mask itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mask_interchange import (
    MaskError,
    check_counts,
    counts_to_runs,
    decode_mask,
    decode_runs,
    empty_mask,
    encode_mask,
    encode_runs,
    mask_area,
    rle,
    runs_to_counts,
)
from mask_interchange.rle import check_masks, encode_labels, longest_string
from pycocotools import mask as coco

masks = st.tuples(st.integers(1, 30), st.integers(1, 30)).flatmap(lambda size: arrays(bool, size))
tracks = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda size: st.lists(arrays(bool, size), min_size=1, max_size=5)
)


def slow_runs(mask: np.ndarray) -> list[int]:
    runs, value = [0], False
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@given(masks)
def test_strings_are_those_of_pycocotools(mask):
    counts = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert encode_mask(mask) == counts
    assert runs_to_counts(np.array(slow_runs(mask))) == counts
    assert counts_to_runs(counts).tolist() == slow_runs(mask)
    decoded = decode_mask(counts, mask.shape)
    assert decoded.dtype == bool
    assert np.array_equal(decoded, mask)
    assert mask_area(counts) == mask.sum()


@given(tracks, st.integers(1, 40))
def test_many_masks_at_once(frames, block):
    strings = [encode_mask(frame) for frame in frames]
    whole, rle._BLOCK = rle._BLOCK, block
    try:
        runs = decode_runs(strings, frames[0].shape)
    finally:
        rle._BLOCK = whole
    assert len(runs) == len(frames)
    assert [runs.frame(t).tolist() for t in range(len(runs))] == [slow_runs(frame) for frame in frames]
    assert runs.areas().tolist() == [frame.sum() for frame in frames]
    assert encode_runs(runs) == tuple(strings)


@given(st.lists(st.integers(1, 2**26), min_size=1, max_size=50))
def test_long_runs(lengths):
    assert counts_to_runs(runs_to_counts(np.array(lengths))).tolist() == lengths


@given(st.lists(st.integers(1, 2**23), min_size=1, max_size=50))
def test_long_runs_are_spelled_as_pycocotools_does(lengths):
    """Not beyond 2**23: pycocotools writes a byte too far where every number takes six characters."""
    counts = runs_to_counts(np.array(lengths))
    as_coco = coco.frPyObjects([{"size": [1, sum(lengths)], "counts": lengths}], 1, sum(lengths))[0]["counts"]
    assert counts == as_coco


@given(st.binary(max_size=40), st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_any_bytes_are_a_mask_of_one_spelling_or_an_error(counts, size):
    try:
        mask = decode_mask(counts, size)
    except MaskError:
        return
    assert encode_mask(mask) == counts


@given(st.text("0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmno", max_size=12), st.integers(1, 30))
def test_any_string_of_the_alphabet(counts, width):
    size = (7, width)
    try:
        mask = decode_mask(counts.encode(), size)
    except MaskError:
        return
    assert encode_mask(mask) == counts.encode()


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        (b"", "1 to 16 bytes, found 0"),
        (b"0" * 17, "1 to 16 bytes, found 17"),
        (b"4 ", "found byte 32"),
        (b"4p", "found byte 112"),
        (b"4\xff", "found byte 255"),
        (b"4\x00", "found byte 0"),
        (b"4P", "cut off"),
        (b"PPPPPPP0", "at most 6 characters, found one of 8"),
        (b"T000", "shortest form"),
        (b"<002", "empty run after the first"),
        (b"4", "found 4 pixels in all"),
        (b"43O", "negative"),
    ],
)
def test_reasons(counts, reason):
    size = (1, 14)
    good = encode_mask(np.ones(size, bool))
    for read in (decode_runs, check_masks):
        with pytest.raises(MaskError, match=reason) as caught:
            read([good, counts, good], size)
        assert "mask 1" in str(caught.value)
    with pytest.raises(MaskError):
        check_counts(counts, size)


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 90))))
def test_no_mask_has_more_than_the_longest_string(mask):
    assert len(encode_mask(mask)) <= longest_string(mask.shape)


@pytest.mark.parametrize("long", [16, 512, 16384])
def test_runs_at_a_step_of_their_spelling_fit_the_longest_string(long):
    """Each pair of runs, long and 1, after a pair of 1 and 1, takes as many further characters as can be."""
    lengths = [1, 1, 1, long, 1, 1] * 20
    assert len(runs_to_counts(np.array(lengths))) <= longest_string((1, sum(lengths)))


def test_strings_beyond_any_mask_are_refused_without_a_size():
    with pytest.raises(MaskError, match="1 to 8388608 bytes, found 8388609"):
        decode_runs([b"0" * (2**23 + 1)])


def test_reason_names_the_mask_beyond_the_first_block(monkeypatch):
    monkeypatch.setattr(rle, "_BLOCK", 4)
    good = encode_mask(np.eye(3, dtype=bool))
    with pytest.raises(MaskError, match=r"mask 7: .*cut off"):
        decode_runs([good] * 7 + [b"P"] + [good] * 3)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 4), (2**15 + 1, 1), (2**14, 2**14), (4,), (1, 2, 3)])
def test_sizes(size):
    with pytest.raises(MaskError, match="height, width"):
        check_counts(b"4", size)


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 255)))
def test_labels_are_encoded_as_their_masks(labels):
    expected = {label: encode_mask(labels == label) for label in np.unique(labels).tolist() if label}
    assert encode_labels(labels) == expected


def test_labels_that_are_noise(monkeypatch):
    monkeypatch.setattr(rle, "MAX_MASK_BYTES", 5)
    encode_labels(np.array([[0, 1, 0, 1, 0, 1]], np.uint8))
    with pytest.raises(MaskError, match="at most 5 times down the columns, found 6"):
        encode_labels(np.array([[0, 1, 0, 1, 0, 1, 0]], np.uint8))


def test_empty_mask():
    assert not decode_mask(empty_mask((3, 5)), (3, 5)).any()
    assert mask_area(empty_mask((3, 5))) == 0


@pytest.mark.parametrize("mask", [np.zeros((2, 2), np.uint8), np.zeros(4, bool), np.zeros((1, 2, 2), bool)])
def test_only_bool_masks(mask):
    with pytest.raises(MaskError, match="bool"):
        encode_mask(mask)
