"""The expressions of a video with their colours: one picture, laid over every frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from mask_interchange import Size
from PIL import Image, ImageDraw, ImageFont

from fusion_core.errors import FusionCoreError
from fusion_core.rendering.colours import Colour

LETTERS = 1 / 24  # height of the letters as a share of the frame's shorter side
SMALLEST, LARGEST = 9, 72  # pixels
ROOM = 0.45  # share of the frame's height that the legend may cover
BACKGROUND = (0, 0, 0, 165)

# Looked up on the system, in this order, if the font inside Pillow lacks letters of an expression.
SYSTEM_FONTS = (
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "arial.ttf",
    "Arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "msyh.ttc",
    "PingFang.ttc",
    "Arial Unicode.ttf",
)

PLACEHOLDER = "\u25a1"  # a white square

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class FontError(FusionCoreError):
    """A font file that cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """A picture for the top left of every frame.

    Attributes:
        colour: float32 [h, w, 3], 0 to 255.
        cover: float32 [h, w, 1], 0 where only the frame is seen, 1 where only the picture is.
    """

    colour: npt.NDArray[np.float32]
    cover: npt.NDArray[np.float32]

    def lay_over(self, frame: npt.NDArray[np.uint8]) -> None:
        """Lay it over a frame RGB uint8 [H, W, 3], in place."""
        height, width = self.cover.shape[:2]
        under = frame[:height, :width]
        under[:] = np.rint(self.cover * self.colour + (1 - self.cover) * under)


def make_legend(expressions: Sequence[tuple[str, Colour]], size: Size, font: Path | None = None) -> Legend:
    """The texts of expressions, each with a patch of its colour, for frames of `size`.

    Letters have a fixed share of the frame's height. If that takes too much of the frame, they get smaller, and then
    the texts shorter.

    A letter that no font has is shown as a placeholder; `missing_letters` lists them.

    Raises:
        FontError: the font file cannot be read.
    """
    check_font(font)
    height, width = size
    shown = [" ".join(text.split()) for text, _ in expressions]
    name, missing = _font_for("".join(shown), font)
    placeholder = PLACEHOLDER if not _missing(_font(name, 20), PLACEHOLDER) else "?"
    shown = [text.translate(dict.fromkeys(map(ord, missing), placeholder)) for text in shown]
    letters = min(max(round(min(size) * LETTERS), SMALLEST), LARGEST)
    while True:
        type_ = _font(name, letters)
        line = round(1.35 * letters)
        room = max(1, int(ROOM * height) // line)
        wrapped = [_wrap(text, type_, width - 3 * letters) for text in shown]
        if sum(map(len, wrapped)) <= room or letters == SMALLEST:
            break
        letters = max(SMALLEST, int(letters * 0.9))
    return _paint(_lines(wrapped, [colour for _, colour in expressions], room), type_, letters, line, size)


def _lines(wrapped: Sequence[list[str]], colours: Sequence[Colour], room: int) -> list[tuple[str, Colour | None]]:
    """Lines to write, the first of each text with its colour. If there are too many, each text is cut."""
    each = len(max(wrapped, key=len)) if sum(map(len, wrapped)) <= room else max(1, room // len(wrapped))
    shown = len(wrapped) if len(wrapped) <= room else room - 1
    lines: list[tuple[str, Colour | None]] = []
    for texts, colour in zip(wrapped[:shown], colours, strict=False):
        kept = texts if len(texts) <= each else [*texts[: each - 1], f"{texts[each - 1]}..."]
        lines += [(text, None if at else colour) for at, text in enumerate(kept)]
    if shown == len(wrapped):
        return lines
    return [*lines, (f"and {len(wrapped) - shown} more" if shown else f"{len(wrapped)} expressions", None)]


def _wrap(text: str, font: Font, width: int) -> list[str]:
    """Lines of at most `width` pixels, broken between words; words that are too long are broken too."""
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if font.getlength(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        while font.getlength(word) > width and len(word) > 1:
            fits = max(1, next(n for n in range(1, len(word) + 1) if font.getlength(word[:n]) > width) - 1)
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line]


def _paint(lines: list[tuple[str, Colour | None]], font: Font, letters: int, line: int, size: Size) -> Legend:
    gap = max(2, letters // 3)
    left = 2 * gap + letters
    widest = max(font.getlength(text) for text, _ in lines)
    width = min(size[1], int(left + widest + 2 * gap))
    height = min(size[0], line * len(lines) + gap)
    picture = Image.new("RGBA", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(picture)
    for row, (text, colour) in enumerate(lines):
        top = gap // 2 + row * line
        if colour is not None:
            pen.rectangle((gap, top + line // 6, gap + letters * 0.8, top + line // 6 + letters * 0.8), fill=colour)
        pen.text((left, top + line / 2), text, fill="white", font=font, anchor="lm")
    pixels = np.asarray(picture, np.float32)
    return Legend(colour=pixels[..., :3], cover=pixels[..., 3:] / np.float32(255))


def check_font(file: Path | None) -> None:
    """Raise FontError unless a font that the user chose can be read."""
    if file is not None:
        try:
            _font(str(file), 20)
        except OSError as error:
            raise FontError(f"{file}: not a readable font: {error}") from error


def missing_letters(text: str, file: Path | None = None) -> str:
    """The characters of a text that the legend shows as a placeholder, because no available font has them."""
    return _font_for(" ".join(text.split()), file)[1]


def _font_for(text: str, file: Path | None) -> tuple[str | None, str]:
    """Name or path of the font that has most letters of the text (None: the one inside Pillow), and what it lacks."""
    best: tuple[str | None, str] | None = None
    for name in [str(file)] if file is not None else [None, *SYSTEM_FONTS]:
        try:
            missing = _missing(_font(name, 20), text)
        except OSError:
            continue  # not on this system
        if best is None or len(missing) < len(best[1]):
            best = name, missing
        if not missing:
            break
    assert best is not None  # the font inside Pillow is always there
    return best


def _missing(font: Font, text: str) -> str:
    """The characters that look like one that no font has."""

    def picture_of(letter: str) -> bytes:
        picture = Image.new("L", (40, 40))
        ImageDraw.Draw(picture).text((5, 5), letter, fill=255, font=font)
        return picture.tobytes()

    unknown = picture_of("\uffff")
    return "".join(sorted(letter for letter in set(text) if letter != " " and picture_of(letter) == unknown))


def _font(name: str | None, letters: int) -> Font:
    return ImageFont.load_default(letters) if name is None else ImageFont.truetype(name, letters)
