"""Label images: ids, or a picture of two colours, by what the palette shows."""

import zlib

import numpy as np
import pytest
from mask_interchange import DatasetError
from mask_interchange.images import read_label_image
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


@pytest.mark.parametrize("palette", [[WHITE, RED, GREEN], [BLACK, RED, RED], [BLACK, RED, BLACK], [RED, BLACK, WHITE]])
def test_other_palettes_are_refused(tmp_path, palette):
    with pytest.raises(DatasetError, match="black background"):
        read_label_image(save(tmp_path / "odd.png", VALUES, palette))


def test_a_damaged_png_is_an_error_of_its_file(tmp_path):
    """PIL raises IndexError for an empty colour profile behind the pixels."""
    Image.fromarray(VALUES).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    at = whole.index(b"IEND") - 4
    empty_profile = b"\0\0\0\0iCCP" + zlib.crc32(b"iCCP").to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(whole[:at] + empty_profile + whole[at:])
    with pytest.raises(DatasetError, match=r"a\.png: unreadable image"):
        read_label_image(tmp_path / "a.png")
