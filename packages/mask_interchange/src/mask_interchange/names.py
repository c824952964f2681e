"""Names that come from data and become parts of file paths."""

import re
import unicodedata

from mask_interchange.errors import DataNameError

MAX_NAME_BYTES = 200
UNSAFE_CHARACTERS = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f]')  # of a path, or of a name on some system
# File names that Windows keeps for devices.
_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³]) *(\..*)?", re.IGNORECASE)


def check_name(kind: str, value: object) -> str:
    """Return `value` if it is safe as one part of a file path.

    Args:
        kind: kind of name, for the message ("video", "expression", "frame").
        value: a non-empty string of at most 200 bytes of UTF-8 that does not begin with a dot, does not end with a
            dot or a blank, holds none of `/ \\ : * ? " < > |` and no control character, and is not the name of a
            device on Windows (`CON`, `NUL.txt`). So it is a file name on every system.

    Raises:
        DataNameError: says which rule is broken.
    """
    if not isinstance(value, str):
        raise DataNameError(f"{kind} id: expected text, found {type(value).__name__} {value!r:.80}")
    problem = _problem(value)
    if problem:
        raise DataNameError(f"{kind} id {value!r:.80}: {problem}; it becomes part of a file name")
    return value


def is_name(value: str) -> bool:
    """Whether `check_name` accepts `value`."""
    return _problem(value) is None


def file_key(name: str) -> str:
    """Equal for two names that are one file name on some system, as `A` and `a`, or `é` and `e` with an accent."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _problem(value: str) -> str | None:
    if not value:
        return "is empty"
    if unsafe := UNSAFE_CHARACTERS.search(value):
        return f"contains {unsafe[0]!r}"
    if value[0] == ".":
        return "begins with a dot"
    if value[-1] in ". ":
        return "ends with a dot or a blank"
    if _DEVICES.fullmatch(value):
        return "is the name of a device on Windows"
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        return f"is not valid Unicode at position {error.start}"
    return f"has {size} bytes, more than {MAX_NAME_BYTES}" if size > MAX_NAME_BYTES else None


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which `frame2` comes before `frame10`."""
    parts = filter(None, re.split(r"([0-9]+)", name))
    return tuple(_number_key(part) if part.isascii() and part.isdecimal() else (1, 0, part) for part in parts)


def _number_key(digits: str) -> tuple[int, int, str]:
    """Sorts as the number does, without making one: Python refuses numbers of more than 4,300 digits."""
    significant = digits.lstrip("0")
    return 0, len(significant), significant + digits
