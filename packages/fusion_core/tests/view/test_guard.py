"""Who is let in: the page of this server, and nobody else."""

import re

import pytest
from fusion_core.view.guard import HEADERS, MAX_BODY
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

PORT = 8123
ORIGIN = f"http://127.0.0.1:{PORT}"


@pytest.fixture
def ask(page):
    """A function that asks with exactly these headers; the cookie is the right one unless another is given."""
    set_cookie = page.client.get(f"/?token={page.guard.token}").headers["set-cookie"]
    client = TestClient(page.guard, base_url=ORIGIN)
    right = {"host": f"127.0.0.1:{PORT}", "cookie": re.match(r"[^;]+", set_cookie)[0]}

    def asked(method="GET", path="/api/session", **headers):
        given = right | {name.replace("_", "-"): value for name, value in headers.items()}
        body = given.pop("body", None)
        sent = {name: value for name, value in given.items() if value is not None}
        return client.send(client.build_request(method, path, headers=sent, content=body))

    return asked


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": f"localhost:{PORT}"}, 200),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"host": "127.0.0.1:1"}, 421),
        ({"host": "127.0.0.1"}, 421),
        ({"host": f"evil.example:{PORT}"}, 421),
        ({"host": f"127.0.0.1.evil.example:{PORT}"}, 421),
        ({"host": f"evil.example:{PORT}", "x_forwarded_host": f"127.0.0.1:{PORT}"}, 421),
        ({"cookie": None}, 403),
        ({"cookie": f"view-{PORT}-00000000=x"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),  # a page on another port of this machine
        ({"sec_fetch_site": "cross-site"}, 403),
    ],
)
def test_looking(ask, headers, status):
    assert ask(**headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 409),  # it reaches the server, which has nothing to undo
        ({"sec_fetch_site": "same-origin"}, 409),
        ({"content_type": "application/octet-stream"}, 409),
        ({"origin": None}, 403),
        ({"origin": "null"}, 403),
        ({"origin": f"http://127.0.0.1:{PORT + 1}"}, 403),
        ({"origin": f"https://127.0.0.1:{PORT}"}, 403),
        ({"origin": f"http://127.0.0.1:{PORT}.evil.example"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "none"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_type": None}, 415),
        ({"cookie": None}, 403),
        ({"host": f"evil.example:{PORT}"}, 421),
    ],
)
def test_changing(ask, page, headers, status):
    given = {"origin": ORIGIN, "content_type": "application/json"} | headers
    answer = ask("POST", "/api/videos/0/undo", body=b"{}", **given)
    assert answer.status_code == status, answer.text
    assert not page.corrected.corrections(0).journal.path.exists()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_no_method_is_forgotten(ask, method):
    assert ask(method, "/api/session").status_code == 403


def test_the_token_buys_the_cookie(page):
    client = TestClient(page.guard, base_url=ORIGIN)
    assert client.get("/").status_code == 403
    for wrong in ("", "x", page.guard.token[:-1], page.guard.token + "x"):
        answer = client.get("/", params={"token": wrong})
        assert (answer.status_code, answer.headers.get("set-cookie")) == (403, None)
    answer = client.get("/", params={"token": page.guard.token}, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 200
    parts = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert parts == {"httponly", "samesite=strict", "path=/"}
    assert page.guard.token not in answer.headers["set-cookie"] + answer.text
    assert client.get("/").status_code == 200


def test_every_answer_has_the_policy_and_no_door_for_other_pages(ask):
    answers = [ask(), ask(path="/"), ask(path="/nothing"), ask(cookie=None), ask(host="x"), ask("PUT", origin="x")]
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../server.py",
        "/assets/%2e%2e%2fserver.py",
        "/assets//etc/passwd",
        "/assets/view.html",
        "/api/videos/..%2f..%2fsecret",
        "/api/videos/world00",
        "/api/videos/99",
        "/api/videos/-1",
        "/api/videos/0/frames/99.jpg",
        "/api/videos/0/masks?run=99&e=0&from=0&to=1",
        "/api/videos/0/masks?run=0&e=99&from=0&to=1",
        "/.git/config",
        "/docs",
    ],
)
def test_what_is_no_number_of_a_table_is_not_there(ask, path):
    assert ask(path=path).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api/videos/0/masks?run=..%2fsecret&e=0&from=0&to=1",
        "/api/videos/0/masks?run=0&e=0&from=0&to=99999",
        "/api/videos/0/masks?run=0&e=0&from=3&to=3",
        "/api/videos/0/masks?run=0&e=0&from=0&to=" + "9" * 5000,
        "/api/videos/0/masks?run=0&e=0",
        "/api/videos/0/frames/0.jpg?w=20000",
        "/api/videos/0/track?run=²&e=0",
    ],
)
def test_what_the_page_never_asks_is_refused(ask, path):
    assert ask(path=path).status_code == 400


def test_a_body_too_large_is_not_read(ask, page):
    given = {"origin": ORIGIN, "content_type": "application/octet-stream", "if_match": '"0"'}
    answer = ask("PUT", "/api/videos/0/edits/0/0", body=b"0" * (MAX_BODY + 1), **given)
    assert answer.status_code == 413
    assert not page.corrected.corrections(0).is_corrected()


def test_websockets_are_closed(page):
    client = TestClient(page.guard, base_url=ORIGIN)
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/api/events"):
        pass
