"""Files of points and boxes."""

import json

import pytest
from mask_interchange.errors import MaskInterchangeError
from program_kit.errors import ProgramKitError
from program_kit.prompts import Prompt, read_prompts


@pytest.fixture
def write(tmp_path):
    def written(content):
        path = tmp_path / "prompts.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return written


def test_points_and_boxes(write):
    prompts = read_prompts(
        write(
            {
                "dog": {"frame": 2, "points": [[12, 8.5], [4, 6]], "labels": [1, 0]},
                "ball": {"box": [20, 15, 24, 19], "points": [[21, 16]]},
            }
        )
    )
    assert prompts == {
        "dog": Prompt(frame=2, points=((12, 8.5), (4, 6)), labels=(1, 0)),
        "ball": Prompt(box=(20, 15, 24, 19), points=((21, 16),), labels=(1,)),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"not JSON"),
        ([], r"top level: expected an object, found a list"),
        ({}, r"expected at least one object, found none"),
        ({"dog": 3}, r"dog: expected an object, found a whole number"),
        ({"../dog": {"box": [0, 0, 1, 1]}}, r"\.\./dog"),
        ({"dog": {}}, r"dog: points at nothing"),
        ({"dog": {"points": [[1, 2]], "labels": [0]}}, r"dog: points at nothing"),
        ({"dog": {"points": [[1, 2]], "labels": [1, 1]}}, r"dog\.labels: expected 1 or 0 for each of 1 points"),
        ({"dog": {"points": [[1, 2]], "labels": [True]}}, r"dog\.labels: expected 1 or 0"),
        ({"dog": {"points": [[1, 2, 3]]}}, r"dog\.points: expected 2 numbers"),
        ({"dog": {"points": [["1", 2]]}}, r"dog\.points: expected 2 numbers"),
        ('{"dog": {"points": [[NaN, 2]]}}', r"dog\.points: expected 2 numbers"),
        ({"dog": {"box": [1, 2, 3]}}, r"dog\.box: expected 4 numbers"),
        ({"dog": {"box": [3, 2, 1, 4]}}, r"dog\.box: expected left < right and top < bottom"),
        ({"dog": {"box": [0, 0, 1, 1], "frame": 1.5}}, r"dog\.frame: expected a whole number"),
        ({"dog": {"bbox": [0, 0, 1, 1]}}, r"dog: expected frame, points, labels, box, found 'bbox'"),
    ],
)
def test_files_of_another_form(write, content, message):
    with pytest.raises((ProgramKitError, MaskInterchangeError), match=message):
        read_prompts(write(content))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(frame=4, box=(0, 0, 1, 1)), r"prompt 'dog': frame 4 is not in the video, which has 0 to 3"),
        (Prompt(frame=-1, box=(0, 0, 1, 1)), r"frame -1 is not in the video"),
        (Prompt(points=((49, 3),), labels=(1,)), r"the point \(49, 3\) is outside the frame of 48 x 32 pixels"),
        (Prompt(box=(0, -1, 5, 5)), r"corner \(0, -1\) is outside"),
    ],
)
def test_prompts_outside_the_video(prompt, message):
    with pytest.raises(ProgramKitError, match=message):
        prompt.check("dog", (32, 48), 4)
    Prompt(frame=3, box=(0, 0, 48, 32)).check("dog", (32, 48), 4)
