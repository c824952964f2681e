"""Download a file from an address: resumed after every break, never taken for whole before it is."""

import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from fusion_core.weights.catalogue import PART
from fusion_core.weights.store import WeightsFilesError, check_room

TIMEOUT = 30.0  # seconds without a byte
TRIES = 5  # without a byte more than before
PAUSE = 0.5  # seconds before another try, longer each time
BUSY = (408, 429, 500, 502, 503, 504)  # answers of a server that may do better soon
CHUNK = 2**20

Progress = Callable[[int, int | None], None]  # bytes that are there, and of the whole file if that is known


def is_offline() -> bool:
    """Whether the user has asked for no network, by the variable of the Hugging Face hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def check_online(address: str, remedy: str) -> None:
    """Check that a server can be reached, at once: libraries try again for half a minute.

    Raises:
        WeightsFilesError: it cannot; says what to do instead.
    """
    if is_offline():
        raise WeightsFilesError(f"HF_HUB_OFFLINE is set, so nothing is fetched from {address}; unset it, or {remedy}")
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=10).close()
    except urllib.error.HTTPError:
        return  # it answers
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        message = f"{address}: cannot be reached ({reason}); once online run this again, or {remedy}"
        raise WeightsFilesError(message) from error


class _BrokenOffError(Exception):
    """A try that ended before the file was whole; says how."""


def download(url: str, target: Path, progress: Progress, *, token: str | None = None, if_refused: str = "") -> Path:
    """Download into `target` with `.part` at the end of its name. What is there of an earlier try is continued.

    Args:
        url: address of the file.
        target: the file that it becomes.
        progress: called with bytes that are there and in all.
        token: tells the server who asks; not the one to which it may redirect.
        if_refused: what to do if the server gives the file only to some, as the end of a sentence.

    Returns:
        The file, whole by the server's count; the caller checks it and gives it its name.

    Raises:
        WeightsFilesError: the server cannot be reached, refuses, sends a page, or breaks off again and again.
    """
    part = target.with_name(target.name + PART)
    tries, had = 0, -1
    while True:
        try:
            if _continue(url, part, progress, token, if_refused):
                return part
            reason = "the server broke off"
        except _BrokenOffError as error:
            reason = str(error)
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError):
            reason = "the server broke off"
        have = _size(part)
        tries = 1 if have > had else tries + 1
        had = max(had, have)
        if tries == TRIES:
            raise WeightsFilesError(f"{url}: {reason} {TRIES} times in a row; {_kept(part)}")
        time.sleep(PAUSE * 2 ** (tries - 1))


def _continue(url: str, part: Path, progress: Progress, token: str | None, if_refused: str) -> bool:
    """Download what is missing; returns whether the file is whole then."""
    have, version = _size(part), part.with_name(f"{part.name}.version")
    request = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    if have and version.is_file():
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", version.read_text(encoding="ascii"))
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            total = (error.headers.get("Content-Range") or "").rpartition("/")[2]
            if total == str(have):
                return True
            part.unlink()
            return False
        answer = f"{error.code} {error.reason}"
        if error.code in BUSY:
            raise _BrokenOffError(f"the server answers {answer}") from error
        advice = f"; {if_refused}" if if_refused and error.code in {401, 403} else ""
        raise WeightsFilesError(f"{url}: the server refuses: {answer}{advice}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, (ConnectionResetError, TimeoutError)):
            raise ConnectionResetError from error
        raise WeightsFilesError(f"{url}: cannot be reached ({error.reason}); once online, {_kept(part)}") from error
    with response:
        if response.headers.get_content_type() == "text/html":
            raise WeightsFilesError(f"{url}: expected the file, the server sends a web page; open it in a browser")
        resumed = response.status == http.client.PARTIAL_CONTENT
        start = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        if total is not None:
            check_room(part.parent, total - start)
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        if tag and not tag.startswith("W/"):
            version.write_text(tag, encoding="ascii")
        with part.open("ab" if resumed else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                start += len(chunk)
                progress(start, total)
        return total is None or start == total


def finish(part: Path, target: Path) -> None:
    """Give a file that is whole its name."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, target)
    part.with_name(f"{part.name}.version").unlink(missing_ok=True)


def _kept(part: Path) -> str:
    """What the same command does after a download that failed."""
    have = _size(part) if part.with_name(f"{part.name}.version").is_file() else 0
    return f"{have} bytes are kept, the same command continues" if have else "run this again"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
