"""Names that come from data and become parts of file paths."""

import re

from mask_interchange.errors import DataNameError

MAX_NAME_BYTES = 200


def check_name(kind: str, value: object) -> str:
    """Return `value` if it is safe as one part of a file path.

    Args:
        kind: kind of name, for the message ("video", "expression", "frame").
        value: a non-empty string of at most 200 bytes of UTF-8 that does not begin with a dot and is without `/`,
            `\\`, `:` and control characters.

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


def _problem(value: str) -> str | None:
    if not value:
        return "is empty"
    unsafe = next((c for c in value if c in "/\\:" or ord(c) < 32 or 127 <= ord(c) < 160), None)
    if unsafe is not None:
        return f"contains {unsafe!r}"
    if value[0] == ".":
        return "begins with a dot"
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        return f"is not valid Unicode at position {error.start}"
    return f"has {size} bytes, more than {MAX_NAME_BYTES}" if size > MAX_NAME_BYTES else None


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which `frame2` comes before `frame10`."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part)
