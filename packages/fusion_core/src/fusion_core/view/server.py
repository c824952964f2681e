"""Starts the server on this machine only, and opens the browser on it."""

import socket
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import uvicorn
from mask_interchange import MaskInterchangeError
from starlette.types import ASGIApp

from fusion_core.errors import FusionCoreError
from fusion_core.view.clicks import Clicks
from fusion_core.view.corrected_run import CorrectedRun
from fusion_core.view.guard import Guard
from fusion_core.view.propagation import Propagation
from fusion_core.view.routes import make_app

ADDRESS = "127.0.0.1"  # and no option for another: use ssh -L from elsewhere
SAVE_AFTER = 30.0  # seconds without a further correction
LOOK_EVERY = 5.0  # seconds


def serve(
    corrected: CorrectedRun,
    propagation: Propagation,
    clicks: Clicks,
    port: int,
    say: Callable[[str], None],
    *,
    browser: bool,
) -> None:
    """Serve until the user interrupts.

    Args:
        corrected: what is shown and corrected.
        propagation: carries corrections on.
        clicks: answers clicks.
        port: 0 for a free one.
        say: told the address, once the server listens.
        browser: whether to open it.
    """
    with listening_at(port) as listening, TemporaryDirectory() as folder:
        port = listening.getsockname()[1]
        guard = Guard(make_app(corrected, propagation, clicks), port)
        address = f"http://{ADDRESS}:{port}/?token={guard.token}"
        say(address)
        corrected.library.prepare()
        if browser:
            webbrowser.open(_door(Path(folder), address).as_uri())
        with _saving_in_pauses(corrected), suppress(KeyboardInterrupt):  # raised again once the server has ended
            server_of(guard).run(sockets=[listening])


def listening_at(port: int) -> socket.socket:
    """A socket of this machine only, which waits for connections. 0 takes a free port."""
    listening = socket.create_server((ADDRESS, port))
    # Connections inherit it. Without it, the body of an answer waits up to 40 ms for the receipt of its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def server_of(app: ASGIApp) -> uvicorn.Server:
    """A server that writes no log of requests: the token stands in one of them."""
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
        limit_concurrency=64,
        server_header=False,
    )
    return uvicorn.Server(config)


def _door(folder: Path, address: str) -> Path:
    """A page that only this user can read and that leads to the address, so that no list of processes shows it."""
    page = folder / "open.html"
    page.touch(mode=0o600)
    page.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={address}">')
    return page


@contextmanager
def _saving_in_pauses(corrected: CorrectedRun) -> Iterator[None]:
    """Meanwhile, corrections are saved as a run when the user pauses."""
    ended = Event()

    def work() -> None:
        while not ended.wait(LOOK_EVERY):
            if corrected.unsaved_for() > SAVE_AFTER:
                with suppress(MaskInterchangeError, FusionCoreError, OSError):  # said when the user saves
                    corrected.save()

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
