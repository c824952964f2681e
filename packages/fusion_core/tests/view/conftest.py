"""A copy of the synthetic runs, and the server over it: without a socket, or on one for a browser."""

import shutil
import time
from contextlib import contextmanager
from threading import Thread

import pytest
from fusion_core.view.clicks import Clicks
from fusion_core.view.corrected_run import CorrectedRun
from fusion_core.view.guard import Guard
from fusion_core.view.library import Library, open_runs
from fusion_core.view.propagation import Propagation
from fusion_core.view.routes import make_app
from fusion_core.view.server import ADDRESS, listening_at, server_of
from mask_interchange import open_dataset
from starlette.testclient import TestClient

PORT = 8123
ORIGIN = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def runs(world, tmp_path):
    """The folder of the runs of `world`, to be written to."""
    shutil.copytree(world.runs, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture(
    params=[
        (("--fail", "world00"), "cannot, as asked"),
        (("--crash", "world00"), "was killed by SIGKILL in the middle of the video"),
        (("--babble", "world00"), "expected a line of the worker protocol"),
        (("--lie", "world00"), "the run has no masks of video 'world00'"),
        (("--disk-full", "world00"), "the disk is full"),
        (("--refuse",), "ended with exit code 2"),
    ],
    ids=lambda failing: failing[0][0],
)
def failing(request):
    """Options with which an acted program fails, and what is said of it."""
    return request.param


@pytest.fixture
def opened(world, runs):
    """A function that opens the runs as another start of the program would."""

    def open_again(source=None):
        library = Library(dataset=open_dataset(world.dataset), runs=open_runs(runs), folder=runs)
        return CorrectedRun(library, source)

    return open_again


def app_of(corrected, propagation=None, clicks=None):
    propagation = propagation or Propagation(corrected, (), {})
    return make_app(corrected, propagation, clicks or Clicks(corrected, (), ("no-such-program",)))


class Page:
    """Asks as the page does."""

    def __init__(self, corrected, propagation=None, clicks=None):
        self.corrected = corrected
        self.guard = Guard(app_of(corrected, propagation, clicks), PORT)
        self.client = TestClient(
            self.guard, base_url=ORIGIN, headers={"origin": ORIGIN, "sec-fetch-site": "same-origin"}
        )
        assert self.client.get(f"/?token={self.guard.token}").status_code == 200

    def get(self, path, **query):
        return self.client.get(f"/api/{path}", params=query)

    def json(self, path, **query):
        answer = self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path, body=None, match=None):
        headers = {} if match is None else {"if-match": f'"{match}"'}
        return self.client.post(f"/api/{path}", json=body or {}, headers=headers)

    def draw(self, v, e, i, counts, match):
        headers = {"content-type": "application/octet-stream"} | ({} if match is None else {"if-match": f'"{match}"'})
        return self.client.put(f"/api/videos/{v}/edits/{e}/{i}", content=counts, headers=headers)

    def change(self, v, **wanted):
        return self.post(f"videos/{v}/stretches", wanted, self.json(f"videos/{v}")["revision"])

    def masks(self, v, e):
        """The strings of all frames as they are now."""
        frames = self.json(f"videos/{v}")["frames"]
        return [
            one["mask"].encode() for one in self.json(f"videos/{v}/edits", e=e, **{"from": 0, "to": frames})["frames"]
        ]


@pytest.fixture
def page(opened):
    with opened("final") as corrected:
        yield Page(corrected)


@pytest.fixture
def page_of():
    """A function that gives the page of a server."""
    return Page


@pytest.fixture
def served():
    """A context manager that serves corrections, and yields the address with the token."""

    @contextmanager
    def serving(corrected, propagation=None, clicks=None):
        with listening_at(0) as listening:
            port = listening.getsockname()[1]
            guard = Guard(app_of(corrected, propagation, clicks), port)
            server = server_of(guard)
            thread = Thread(target=lambda: server.run(sockets=[listening]))
            thread.start()
            try:
                deadline = time.monotonic() + 30
                while not server.started and time.monotonic() < deadline:
                    time.sleep(0.01)
                yield f"http://{ADDRESS}:{port}/?token={guard.token}"
            finally:
                server.should_exit = True
                thread.join()

    return serving
