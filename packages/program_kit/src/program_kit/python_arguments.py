"""Arguments of the methods that the Python classes of all programs have: videos, frames and expressions."""

from collections.abc import Iterable, Sequence
from os import PathLike

import numpy as np
from mask_interchange.track import Expression
from mask_interchange.video import Video

from program_kit.errors import ProgramKitError


def as_expressions(expressions: str | Expression | Sequence[str | Expression]) -> tuple[Expression, ...]:
    """One expression or several, as `Expression`s; the id of a plain string is its place in the sequence.

    Raises:
        ProgramKitError: there is none, or one has no text.
        MaskError: a text is blank.
    """
    given = [expressions] if isinstance(expressions, str | Expression) else expressions
    named = tuple(
        Expression(id=str(place), text=item) if isinstance(item, str) else item for place, item in enumerate(given)
    )
    if not named:
        raise ProgramKitError("expressions: expected at least one, found none")
    for expression in named:
        if expression.text is None:
            raise ProgramKitError(f"expression {expression.id!r}: expected a text, found none")
    return named


def check_video(video: Video) -> None:
    """Refuse the path of a video where an opened video is expected.

    Raises:
        TypeError: `video` is a path; says how to open it.
    """
    if isinstance(video, str | bytes | PathLike):
        raise TypeError(f"expected a video, found the path {video!s}; mask_interchange.open_video opens it")


def check_frames(frames: Iterable[np.ndarray]) -> None:
    """Refuse the path of a video where its frames are expected.

    Raises:
        TypeError: `frames` is a path; says how to open it.
    """
    if isinstance(frames, str | bytes | PathLike):
        raise TypeError(
            f"frames: expected images uint8 [H, W, 3], found the path {frames!s}; open it with "
            "mask_interchange.open_video(path, expressions) and pass its video to predict"
        )
