"""What users pass to the Python classes: one text or several, videos and frames and not their path."""

from pathlib import Path

import numpy as np
import pytest
from mask_interchange.errors import MaskError
from mask_interchange.track import Expression
from program_kit.errors import ProgramKitError
from program_kit.python_arguments import as_expressions, check_frames, check_video

DOG = Expression(id="7", text="the brown dog", group="1")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a dog", [("0", "a dog")]),
        (["a dog"], [("0", "a dog")]),
        (("a dog", "a cat"), [("0", "a dog"), ("1", "a cat")]),
        (DOG, [("7", "the brown dog")]),
        (["a cat", DOG], [("0", "a cat"), ("7", "the brown dog")]),
    ],
)
def test_a_text_is_one_expression(given, expected) -> None:
    assert [(expression.id, expression.text) for expression in as_expressions(given)] == expected


def test_an_expression_keeps_its_group() -> None:
    assert as_expressions([DOG]) == (DOG,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "expected at least one, found none"),
        ([Expression(id="3", text=None)], r"expression '3': expected a text, found none"),
        (["a dog", " "], r"expression '1': expected text with words in it"),
    ],
)
def test_nothing_to_look_for_is_an_error(given, message: str) -> None:
    with pytest.raises((ProgramKitError, MaskError), match=message):
        as_expressions(given)


@pytest.mark.parametrize("path", ["clip.mp4", Path("clip.mp4"), b"clip.mp4"])
def test_a_path_in_place_of_frames_is_a_type_error_that_says_what_to_do(path) -> None:
    with pytest.raises(TypeError, match=r"found the path .*clip\.mp4.*open_video"):
        check_frames(path)


def test_frames_pass_without_being_read() -> None:
    check_frames([np.zeros((2, 2, 3), np.uint8)])
    check_frames(frame for frame in ())


@pytest.mark.parametrize("path", ["clip.mp4", Path("frames")])
def test_a_path_is_no_video(path):
    with pytest.raises(TypeError, match=rf"found the path {path}; mask_interchange\.open_video opens it"):
        check_video(path)
