"""Points and boxes that say what to segment in a frame, from a JSON file:

    {
      "dog":  {"frame": 0, "points": [[120, 80], [40, 60]], "labels": [1, 0]},
      "ball": {"frame": 12, "box": [200, 150, 240, 190]}
    }

A key names the object. Coordinates are pixels of the video, x from the left and y from the top; a box is left, top,
right, bottom. Labels say for each point whether it is in the object (1, as without labels) or beside it (0).
"""

import math
from dataclasses import dataclass
from pathlib import Path

from mask_interchange.json_files import JsonPlace, read_json
from mask_interchange.names import check_name

from program_kit.errors import InputError

Point = tuple[float, float]
Box = tuple[float, float, float, float]
KEYS = ("frame", "points", "labels", "box")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What points at one object in one frame.

    Attributes:
        frame: index of the frame.
        points: (x, y) in and beside the object, in pixels.
        labels: for each of them 1 in the object, 0 beside it.
        box: (left, top, right, bottom) around the object; None without one.
    """

    frame: int = 0
    points: tuple[Point, ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None

    def check(self, name: str, size: tuple[int, int], frames: int) -> None:
        """Check that the prompt fits a video.

        Args:
            name: of the object, for messages.
            size: (H, W) of the video.
            frames: how many it has.

        Raises:
            InputError: the frame is not in the video, or a point or corner is not in the frame.
        """
        if not 0 <= self.frame < frames:
            raise InputError(f"prompt {name!r}: frame {self.frame} is not in the video, which has 0 to {frames - 1}")
        height, width = size
        places = [("point", point) for point in self.points]
        places += [("box's corner", corner) for corner in (self.box[:2], self.box[2:])] if self.box else []
        for what, (x, y) in places:
            if not (0 <= x <= width and 0 <= y <= height):
                raise InputError(
                    f"prompt {name!r}: the {what} ({x:g}, {y:g}) is outside the frame of {width} x {height} pixels; "
                    f"give x from 0 to {width} and y from 0 to {height}"
                )


def read_prompts(path: Path) -> dict[str, Prompt]:
    """The prompts of a file, by the names of their objects.

    Raises:
        DatasetError: the file cannot be read, or has not this form; says where.
        InputError: there is no prompt, or one that points at nothing; says where.
    """
    return parse_prompts(*read_json(path))


def parse_prompts(at: JsonPlace, tree: object) -> dict[str, Prompt]:
    """As `read_prompts`, of a JSON value and the place where it stands."""
    prompts = {}
    for name, entry in at.typed(tree, dict).items():
        check_name("object", name)
        prompts[name] = _prompt(at / name, at.get(tree, name, dict), entry)
    if not prompts:
        raise InputError(f"{at}: expected at least one object, found none")
    return prompts


def _prompt(at: JsonPlace, entry: dict[str, object], tree: object) -> Prompt:
    if unknown := [key for key in entry if key not in KEYS]:
        raise InputError(f"{at}: expected {', '.join(KEYS)}, found {unknown[0]!r:.80}")
    points = tuple(_numbers(at / "points", point, 2) for point in at.optional(tree, "points", list) or ())
    labels = at.optional(tree, "labels", list)
    if labels is None:
        labels = [1] * len(points)
    if len(labels) != len(points) or not all(type(label) is int and label in (0, 1) for label in labels):
        raise InputError(f"{at / 'labels'}: expected 1 or 0 for each of {len(points)} points, found {labels!r:.80}")
    given = at.optional(tree, "box", list)
    box = None if given is None else _numbers(at / "box", given, 4)
    if box is not None and not (box[0] < box[2] and box[1] < box[3]):
        raise InputError(f"{at / 'box'}: expected left < right and top < bottom, found {given!r:.80}")
    if box is None and 1 not in labels:
        raise InputError(f"{at}: points at nothing; give a box, or a point in the object")
    return Prompt(frame=at.optional(tree, "frame", int) or 0, points=points, labels=tuple(labels), box=box)  # pyright: ignore[reportArgumentType] - of two and of four


def _numbers(at: JsonPlace, value: object, count: int) -> tuple[float, ...]:
    found = at.typed(value, list)
    if len(found) != count or not all(type(n) in (int, float) and math.isfinite(n) for n in found):
        raise InputError(f"{at}: expected {count} numbers, found {value!r:.80}")
    return tuple(float(n) for n in found)
