"""Values in requests of the page, checked."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from fusion_core.errors import FusionCoreError


class RequestError(FusionCoreError):
    """A request that is not one of the page's."""


class NotThereError(FusionCoreError):
    """Something that the page asks for by number and that is not there."""


def number(query: Mapping[str, str], key: str, *, optional: bool = False) -> Any:
    """The number of a key of the query; None if it is optional and not there."""
    text = query.get(key)
    if text is None and optional:
        return None
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise RequestError(f"expected a number {key}, found {text!r:.40}")
    return int(text)


def stretch(query: Mapping[str, str], most: int) -> tuple[int, int]:
    """The frames `from` to `to`, the last not included."""
    start, stop = number(query, "from"), number(query, "to")
    if not start < stop <= start + most:
        raise RequestError(f"expected 1 to {most} frames, found from {start} to {stop}")
    return start, stop


def check_number(number: int, count: int, what: str) -> None:
    """Raise NotThereError unless there is something of this number."""
    if not 0 <= number < count:
        raise NotThereError(f"expected a number of a {what} from 0 to {count - 1}, found {number}")


def seen_revision(request: Request) -> str | None:
    """The revision in the header If-Match, without its quotes; None where there is none."""
    header = request.headers.get("if-match", "")
    return header[1:-1] if len(header) > 2 and header[0] == header[-1] == '"' else None


def json_object(text: bytes, keys: set[str]) -> dict[str, Any]:
    """The JSON object in a body, with no other keys than these."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"expected JSON: {error}") from error
    if not isinstance(tree, dict) or not tree.keys() <= keys:
        raise RequestError(f"expected an object with the keys {', '.join(sorted(keys))}")
    return tree


def whole_numbers(tree: Mapping[str, Any], *keys: str) -> list[int]:
    """The whole numbers of these keys, in order."""
    values = [tree.get(key) for key in keys]
    if any(type(value) is not int for value in values):
        raise RequestError(f"expected whole numbers {', '.join(keys)}")
    return [int(value) for value in values if value is not None]
