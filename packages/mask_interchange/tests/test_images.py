"""Label images: ids, or a picture of two colours, by what the palette shows."""

import tracemalloc
import zlib

import numpy as np
import pytest
from mask_interchange import DatasetError, import_annotations
from mask_interchange.images import read_label_image, read_rgb
from PIL import Image

BLACK, WHITE, RED, GREEN = (0, 0, 0), (255, 255, 255), (128, 0, 0), (0, 128, 0)
VALUES = np.array([[0, 1, 1], [0, 0, 2]], np.uint8)


def save(path, values, palette):
    image = Image.fromarray(values, "P")
    image.putpalette([channel for colour in palette for channel in colour])
    image.save(path)
    return path


def test_a_colour_for_each_object_makes_ids(tmp_path):
    for palette in ([BLACK, RED, GREEN], [BLACK, (236, 95, 103), (249, 145, 87)]):
        values, has_palette = read_label_image(save(tmp_path / "ids.png", VALUES, palette))
        np.testing.assert_array_equal(values, VALUES)
        assert has_palette


@pytest.mark.parametrize("palette", [[BLACK, WHITE, BLACK], [WHITE, BLACK, WHITE], [WHITE, BLACK, BLACK]])
def test_black_and_white_are_told_by_colour(tmp_path, palette):
    values, has_palette = read_label_image(save(tmp_path / "two.png", VALUES, palette))
    np.testing.assert_array_equal(values, np.array([colour == WHITE for colour in palette], np.uint8)[VALUES])
    assert not has_palette


def test_a_grey_palette_is_a_grey_image(tmp_path):
    grey = [(i, i, i) for i in range(256)]
    values, has_palette = read_label_image(save(tmp_path / "grey.png", VALUES, grey))
    np.testing.assert_array_equal(values, VALUES)
    assert not has_palette


@pytest.mark.parametrize(
    "palette", [[WHITE, RED, GREEN], [BLACK, RED, RED], [BLACK, RED, BLACK], [RED, BLACK, WHITE], [WHITE] * 3]
)
def test_other_palettes_are_refused(tmp_path, palette):
    with pytest.raises(DatasetError, match="black background"):
        read_label_image(save(tmp_path / "odd.png", VALUES, palette))


@pytest.mark.parametrize("mode", ["RGB", "LA", "I;16"])
def test_the_error_about_another_mode_ends_in_itself(tmp_path, mode):
    """It was its own cause, so whoever followed the causes never came to an end."""
    Image.fromarray(VALUES.astype(np.uint16) if mode == "I;16" else VALUES).convert(mode).save(tmp_path / "a.png")
    with pytest.raises(DatasetError, match=r"a\.png: expected an 8-bit grey or palette image") as caught:
        read_label_image(tmp_path / "a.png")
    assert caught.value.__cause__ is None


def test_a_damaged_png_is_an_error_of_its_file(tmp_path):
    """PIL raises IndexError for an empty colour profile behind the pixels."""
    Image.fromarray(VALUES).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    at = whole.index(b"IEND") - 4
    empty_profile = b"\0\0\0\0iCCP" + zlib.crc32(b"iCCP").to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(whole[:at] + empty_profile + whole[at:])
    with pytest.raises(DatasetError, match=r"a\.png: unreadable image"):
        read_label_image(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "LA", "1"])
def test_frames_of_several_strips(tmp_path, monkeypatch, mode):
    monkeypatch.setattr("mask_interchange.images._STRIP", 14)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)).convert(mode)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["L", "P"])
def test_a_large_picture_with_many_labels_takes_a_few_bytes_a_pixel(tmp_path, mode):
    """A packed picture of 20 KB; the arrays that import made took 10 bytes a pixel for each of its labels, in turn."""
    labels = np.repeat(np.arange(2048) % 254 + 1, 2048).reshape(2048, 2048).T.astype(np.uint8)
    image = Image.fromarray(labels)
    if mode == "P":
        image.putpalette(bytes([0, 0, 0, *(i for label in range(1, 256) for i in (label, 0, 9))]))
    (tmp_path / "v").mkdir()
    image.save(tmp_path / "v" / "0.png")
    tracemalloc.start()
    try:
        (video,) = import_annotations(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(video.tracks) == 254
    assert peak < 4 * labels.size
