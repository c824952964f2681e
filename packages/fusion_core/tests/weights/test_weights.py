"""Weights from a local server that behaves like the hub and like any other, and misbehaves as these do."""

import hashlib
import io
import json
import math
import os
import pickle
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import types
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import pytest
from fusion_core.cli import app
from fusion_core.weights import catalogue, store, web
from fusion_core.weights.catalogue import State, Verdict
from fusion_core.weights.fetch import fetch
from fusion_core.weights.store import WeightsFilesError
from program_kit import weights_table
from program_kit.errors import WeightsError
from program_kit.weights_folder import folder_of, read_record, stored
from typer.testing import CliRunner

COMMIT = "0123456789" * 4


def safetensors(fill: bytes = b"\0", **shapes: tuple[int, ...]) -> bytes:
    """A file of float32 tensors; `__` in a name is a dot."""
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name.replace("__", ".")] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + fill * end


def torch_file(note: str, **shapes: tuple[int, ...]) -> bytes:
    """A file as torch writes it, of its names alone."""

    class Rebuilt:
        def __init__(self, shape: tuple[int, ...]) -> None:
            self.shape = shape

        def __reduce__(self):
            return rebuild, (None, 0, self.shape)

    module = types.ModuleType("torch._utils")

    def rebuild(*args):
        pass

    rebuild.__module__, rebuild.__qualname__, module._rebuild_tensor_v2 = "torch._utils", "_rebuild_tensor_v2", rebuild
    content = {name.replace("__", "."): Rebuilt(shape) for name, shape in shapes.items()} | {"note": note}
    with mock.patch.dict(sys.modules, {"torch": types.ModuleType("torch"), "torch._utils": module}):
        pickled = pickle.dumps(content)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
    return file.getvalue()


BACKBONE = safetensors(backbone__patch_embed__proj__weight=(128, 3, 2, 4, 4))
MODEL = safetensors(b"\1", some__weight=(64, 1024))

MODEL_PATH = f"/owner/sam/resolve/{COMMIT}/model.safetensors"
FETCHED = [("backbone", "/backbone.safetensors"), ("sam", MODEL_PATH)]


@dataclass
class Behaviour:
    """What the server holds and how it misbehaves.

    Attributes:
        files: by path.
        pages: paths at which it sends a web page.
        breaks: how many more times it breaks off in the middle of a file.
        reach: it breaks off at this byte of a file, always.
        slow: seconds before it answers.
        answers: what it answers in place of a file, by path: a code, or an address to go to.
        asked: lines of the requests it got, with their ranges.
        tokens: of each request, by path.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    pages: set[str] = field(default_factory=set)
    breaks: int = 0
    reach: int | None = None
    slow: float = 0.0
    answers: dict[str, int | str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: dict[str, str | None] = field(default_factory=dict)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    behaviour: Behaviour

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, body=True):
        path, _, _ = self.path.partition("?")
        self.behaviour.asked.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        self.behaviour.tokens[path] = self.headers.get("Authorization")
        answer = self.behaviour.answers.get(path)
        if isinstance(answer, int):
            return self.send(b"", body, code=answer)
        if answer is not None:
            return self.send(b"", body, code=302, Location=answer)
        if path in self.behaviour.pages:
            return self.send(b"<!DOCTYPE html><html>log in</html>", body, **{"Content-Type": "text/html"})
        if match := re.fullmatch(r"/api/models/(.+)/revision/(\w+)", path):
            return self.send_listing(match[1], match[2], body)
        content = self.behaviour.files.get(path)
        if content is None:
            return self.send(b"", body, code=404, **{"X-Error-Code": "EntryNotFound"})
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        headers = {"ETag": tag, "Accept-Ranges": "bytes", "X-Repo-Commit": COMMIT}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and self.headers.get("If-Range", tag) == tag:
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.send(content[start:], body, code=206, **headers)
        return self.send(content, body, **headers)

    def send_listing(self, repository: str, commit: str, body: bool) -> None:
        prefix = f"/{repository}/resolve/{commit}/"
        found = {name.removeprefix(prefix): c for name, c in self.behaviour.files.items() if name.startswith(prefix)}
        if not found:
            return self.send(b"{}", body, code=404, **{"X-Error-Code": "RevisionNotFound"})
        siblings = []
        for name, content in found.items():
            entry = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
            if name.endswith(".safetensors"):
                sha256 = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"size": len(content), "sha256": sha256, "pointerSize": 134}
            siblings.append(entry)
        tree = {"id": repository, "sha": commit, "siblings": siblings, "private": False, "downloads": 0, "tags": []}
        return self.send(json.dumps(tree).encode(), body, **{"Content-Type": "application/json"})

    def send(self, content: bytes, body: bool, code: int = 200, **headers: str) -> None:
        self.send_response(code)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(content))} | headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not body:
            return
        reach = self.behaviour.reach
        if len(content) > 1000 and (self.behaviour.breaks > 0 or reach is not None):
            self.behaviour.breaks -= 1
            start = int(headers.get("Content-Range", "bytes 0-").split(" ")[1].split("-")[0])
            self.wfile.write(content[: len(content) // 2 if reach is None else max(0, reach - start)])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        time.sleep(self.behaviour.slow)
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def server(behaviour) -> Iterator[str]:
    """Address of a server on this machine."""
    handler = type("Handler", (Handler,), {"behaviour": behaviour})
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture(autouse=True)
def table(tmp_path, monkeypatch, server, behaviour) -> Path:
    """A table of two: a file at an address, and a folder on the hub; both on the server."""
    behaviour.files["/backbone.safetensors"] = BACKBONE
    for name, content in (("model.safetensors", MODEL), ("config.json", b"{}"), ("README.md", b"words")):
        behaviour.files[f"/owner/sam/resolve/{COMMIT}/{name}"] = content
    text = f"""
[weights.backbone]
title = "a backbone"
url = "{server}/backbone.safetensors"
licence = "MIT"
files = [{{ name = "backbone.safetensors", sha256 = "{hashlib.sha256(BACKBONE).hexdigest()}" }}]
[weights.backbone.tensors]
"backbone.patch_embed.proj.weight" = [128, 3, 2, 4, 4]

[weights.sam]
title = "a folder"
hub = "owner/sam"
commit = "{COMMIT}"
licence = "Apache-2.0"
files = [{{ name = "model.safetensors", size = {len(MODEL)} }}, {{ name = "config.json" }}, {{ name = "more.json" }}]

[weights.browser]
title = "a file behind a page"
page = "https://drive.google.com/file/d/some-id"
licence = "none stated"
files = [{{ name = "browser.pth" }}]
[weights.browser.tensors]
"head.weight" = [2, 2]

[programs.sam-propagate]
base = {{ weights = {{ model = "sam" }} }}
"""
    path = tmp_path / "table.toml"
    path.write_text(text)
    monkeypatch.setattr(weights_table, "TABLE", path)
    forget()
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path / "user"))
    monkeypatch.setenv("HF_ENDPOINT", server)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(web, "PAUSE", 0.0)
    yield path
    forget()


def forget() -> None:
    for cached in (weights_table._table, weights_table.published_weights, weights_table.needs_of):
        cached.cache_clear()


def fetched(name: str) -> Path:
    return fetch(name, lambda line: None, lambda done, total: None)


def call(*arguments: object):
    return CliRunner().invoke(app, ["weights", *map(str, arguments)])


def test_a_server_that_breaks_off_twice(behaviour):
    behaviour.breaks = 2
    path = fetched("backbone")
    assert path.read_bytes() == BACKBONE
    ranges = [line.partition("bytes=")[2] for line in behaviour.asked if line.startswith("GET")]
    half = len(BACKBONE) // 2
    assert ranges == ["", f"{half}-", f"{half + (len(BACKBONE) - half) // 2}-"]
    assert [file.name for file in path.parent.glob("[!.]*")] == [path.name]
    assert catalogue.verdicts("backbone") == {path.name: Verdict.PUBLISHED}


@pytest.mark.parametrize(("name", "path"), FETCHED)
def test_a_server_that_always_breaks_off_keeps_the_half_for_the_next_command(behaviour, name, path):
    behaviour.reach = 5000
    with pytest.raises(WeightsFilesError, match=r"broke off 5 times in a row; 5000 bytes are kept, the same command"):
        fetched(name)
    (part,) = folder_of(name).glob("*.part")
    assert part.stat().st_size == 5000
    assert stored(name) is None
    assert catalogue.entry(weights_table.published(name)).state is State.PARTIAL
    behaviour.reach, behaviour.asked = None, []
    fetched(name)
    (whole,) = folder_of(name).glob("*.safetensors")
    assert whole.read_bytes() == behaviour.files[path]
    assert f"GET {path} bytes=5000-" in behaviour.asked


@pytest.mark.parametrize(("name", "path"), FETCHED)
def test_a_server_that_is_busy_is_asked_again(behaviour, name, path):
    behaviour.answers[path] = 503
    result = call("fetch", name)
    assert result.exit_code == 2
    assert "the server answers 503 Service Unavailable 5 times in a row; run this again" in result.stderr
    assert sum(line.startswith(f"GET {path}") for line in behaviour.asked) == 5


def test_a_server_that_goes_away_in_the_middle(behaviour, monkeypatch):
    """After half of the file nobody listens there any more."""
    behaviour.breaks, real = 1, web.urllib.request.urlopen

    def urlopen(request, timeout):
        if (folder_of("sam") / "model.safetensors.part").is_file():
            raise web.urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))
        return real(request, timeout=timeout)

    monkeypatch.setattr(web.urllib.request, "urlopen", urlopen)
    result = call("fetch", "sam")
    assert result.exit_code == 2
    assert f"once online, {len(MODEL) // 2} bytes are kept, the same command continues" in result.stderr
    assert "Traceback" not in result.stderr


def test_files_that_only_some_may_have(behaviour):
    behaviour.answers[MODEL_PATH] = 403
    result = call("fetch", "sam")
    assert result.exit_code == 2
    assert "the server refuses: 403 Forbidden; its owner may give it only to some" in result.stderr
    assert "HF_TOKEN" in result.stderr


@pytest.mark.parametrize(
    ("code", "words"), [(404, "there is no such repository"), (401, "set HF_TOKEN"), (500, "answers 500 Internal")]
)
def test_a_hub_that_does_not_list_a_repository(behaviour, code, words):
    behaviour.answers[f"/api/models/owner/sam/revision/{COMMIT}"] = code
    result = call("fetch", "sam")
    assert result.exit_code == 2
    assert words in result.stderr
    assert "HF_ENDPOINT names http://127.0.0.1" in result.stderr


def test_a_token_is_told_to_the_hub_and_not_to_the_server_that_keeps_its_files(behaviour, monkeypatch, server):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    behaviour.answers[MODEL_PATH] = f"{server}/kept/model"
    behaviour.files["/kept/model"] = MODEL
    assert (fetched("sam") / "model.safetensors").read_bytes() == MODEL
    assert behaviour.tokens[MODEL_PATH] == "Bearer hf_secret"
    assert behaviour.tokens["/kept/model"] is None


def test_half_of_another_file_is_not_continued(behaviour):
    behaviour.reach = 5000
    behaviour.files["/backbone.safetensors"] = BACKBONE.replace(b"\0", b"\1")
    with pytest.raises(WeightsFilesError, match="broke off"):
        fetched("backbone")
    behaviour.reach, behaviour.files["/backbone.safetensors"] = None, BACKBONE
    assert fetched("backbone").read_bytes() == BACKBONE


def test_a_wrong_hash_is_an_error_and_the_file_is_not_kept(behaviour):
    behaviour.files["/backbone.safetensors"] = BACKBONE.replace(b"\0", b"\1")
    result = call("fetch", "backbone")
    assert result.exit_code == 2
    assert "not the published file: expected SHA-256" in result.stderr
    assert not list(folder_of("backbone").glob("[!.]*"))
    assert stored("backbone") is None


@pytest.mark.parametrize("name", ["backbone", "sam"])
def test_a_page_instead_of_the_file(behaviour, name):
    behaviour.pages = {"/backbone.safetensors", MODEL_PATH}
    result = call("fetch", name)
    assert result.exit_code == 2
    assert "page" in result.stderr or "not what the hub sends" in result.stderr
    assert stored(name) is None


def test_a_page_that_is_called_a_file(behaviour):
    behaviour.files["/owner/other/resolve/" + COMMIT + "/model.safetensors"] = b"<html>log in</html>"
    result = call("fetch", f"hub:owner/other@{COMMIT}")
    assert result.exit_code == 2
    assert "is a web page" in result.stderr


def test_offline_is_an_error_at_once(monkeypatch, behaviour):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("backbone", "sam"):
        result = call("fetch", name)
        assert result.exit_code == 2
        assert "HF_HUB_OFFLINE is set" in result.stderr
        assert "weights add" in result.stderr
    assert not behaviour.asked


@pytest.mark.parametrize("name", ["backbone", "sam"])
def test_without_a_network_one_try_is_enough(monkeypatch, table, server, name):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{listener.getsockname()[1]}"  # bound, and nobody listens
        table.write_text(table.read_text().replace(server, nowhere))
        forget()
        monkeypatch.setenv("HF_ENDPOINT", nowhere)
        result = call("fetch", name)
    assert result.exit_code == 2
    assert "cannot be reached (" in result.stderr
    assert "weights add" in result.stderr


def test_a_folder_from_the_hub(behaviour, capfd):
    behaviour.breaks = 2
    path = fetched("sam")
    assert path == folder_of("sam")
    assert {file.name for file in path.glob("[!.]*")} == {"model.safetensors", "config.json"}
    assert (path / "model.safetensors").read_bytes() == MODEL
    record = read_record(path)
    assert record is not None
    assert record.source == f"hub:owner/sam@{COMMIT}"
    assert catalogue.verdicts("sam") == dict.fromkeys(("config.json", "model.safetensors"), Verdict.RECORDED)
    behaviour.asked = []
    assert fetched("sam") == path
    assert not behaviour.asked, "what is there is looked at before the network"


def test_any_commit_of_the_hub():
    path = fetched(f"hub:owner/sam@{COMMIT}")
    assert path == folder_of(f"hub:owner/sam@{COMMIT}")
    assert {file.name for file in path.glob("[!.]*")} == {"model.safetensors", "config.json"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("backbon", "did you mean backbone?"),
        ("hub:owner/sam@main", "expected a commit of 40 hexadecimal digits after @, found main"),
        (f"hub:owner/sam@{'f' * 40}", "the repository has no such commit"),
        (f"hub:owner/none@{COMMIT}", "no such"),
        ("browser", "only a browser gets this file: open https://drive.google.com/file/d/some-id, save browser.pth"),
    ],
)
def test_what_cannot_be_fetched(name, words):
    result = call("fetch", name)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_two_fetches_at_once_download_once(behaviour, table):
    behaviour.slow = 1.0
    script = (
        "import sys; from pathlib import Path; from program_kit import weights_table; "
        f"weights_table.TABLE = Path({str(table)!r}); from fusion_core.cli import app; app()"
    )
    command = [sys.executable, "-c", script, "weights", "fetch", "backbone"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert all("backbone: " in out for out, _ in said)
    assert sum(line.startswith("GET") for line in behaviour.asked) == 1


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path / "file" / "weights"))
    result = call("fetch", "backbone")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    assert "RVOS_WEIGHTS names another folder" in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights(tmp_path, monkeypatch):
    (tmp_path / "user").mkdir(mode=0o500)
    result = call("fetch", "backbone")
    assert result.exit_code == 2
    assert "cannot be written (Permission denied); RVOS_WEIGHTS names another folder" in result.stderr


@pytest.mark.parametrize("name", ["backbone", "sam"])
def test_a_disk_without_room_is_noticed_before_the_download(monkeypatch, behaviour, name):
    monkeypatch.setattr(store.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    result = call("fetch", name)
    assert result.exit_code == 2
    assert "MB are needed, 0 MB are free; make room" in result.stderr
    assert not list(folder_of(name).glob("[!.]*.safetensors*"))


def test_a_disk_that_is_full_in_the_middle(monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(web, "finish", full)
    result = call("fetch", "backbone")
    assert result.exit_code == 2
    assert "the disk is full; make room, the same command continues" in result.stderr


def test_a_file_that_was_put_there_by_hand_spares_the_network(behaviour, tmp_path):
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "backbone.safetensors").write_bytes(BACKBONE)
    assert fetched("backbone").read_bytes() == BACKBONE
    assert not behaviour.asked


def test_add_takes_a_file_and_records_its_hash(tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(safetensors(head__weight=(2, 2)))
    result = call("add", "browser", path)
    assert result.exit_code == 0, result.stderr
    assert stored("browser") == folder_of("browser") / "mine.safetensors"
    assert "mine.safetensors: SHA-256" in call("list").stdout
    assert "recorded at first use" in call("list").stdout
    assert call("add", "browser", path).exit_code == 0
    path.write_bytes(safetensors(b"\1", head__weight=(2, 2)))
    assert "other weights are there" in call("add", "browser", path).stderr


def test_add_knows_files_by_the_names_of_their_tensors(tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(BACKBONE)
    result = call("add", "browser", path)
    assert result.exit_code == 2
    assert "holds the weights of backbone, by the names of its tensors, not of browser" in result.stderr
    path.write_bytes(safetensors(head__weight=(3, 3)))
    assert "expected tensors such as head.weight, found head.weight" in call("add", "browser", path).stderr
    path.write_bytes(BACKBONE[:-5])
    assert "not whole" in call("add", "browser", path).stderr
    (tmp_path / "words").write_text("words")
    assert "not a checkpoint" in call("add", "browser", tmp_path / "words").stderr
    assert stored("browser") is None


def test_add_takes_a_folder(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(MODEL)
    assert "found no config.json and no more.json in it" in call("add", "sam", folder).stderr
    (folder / "config.json").write_bytes(b"{}")
    (folder / "more.json").write_bytes(b"{}")
    for name in ("sam", f"hub:owner/other@{COMMIT}"):
        assert call("add", name, folder).exit_code == 0
        assert stored(name) == folder_of(name)


def test_verify_hashes_again(tmp_path):
    path = fetched("backbone")
    assert call("verify").exit_code == 0
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    result = call("verify")
    assert result.exit_code == 1
    assert "backbone: backbone.safetensors: wrong" in result.stdout
    (line,) = call("verify", "backbone", "--json").stdout.splitlines()
    assert json.loads(line) == {"name": "backbone", "file": "backbone.safetensors", "verdict": "wrong"}
    assert call("verify", "sam").exit_code == 1, "asked for, and not there"


def test_commits_that_the_table_does_not_have_are_listed_and_verified():
    name = f"hub:owner/sam@{COMMIT}"
    assert "no weights in " in call("verify").stderr
    (fetched(name) / "config.json").write_bytes(b"[]")
    last = json.loads(call("list", "--json").stdout.splitlines()[-1])
    assert (last["name"], last["state"], last["size"]) == (name, "there", len(MODEL) + 2)
    result = call("verify")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [f"{name}: model.safetensors: as recorded", f"{name}: config.json: wrong"]


def test_list_as_json():
    fetched("sam")
    lines = [json.loads(line) for line in call("list", "--json").stdout.splitlines()]
    assert [(line["name"], line["state"]) for line in lines] == [
        ("backbone", "missing"),
        ("sam", "there"),
        ("browser", "missing"),
    ]
    assert lines[1]["sha256"]["model.safetensors"] == hashlib.sha256(MODEL).hexdigest()
    assert lines[1]["programs"] == ["sam-propagate --config base"]


def test_convert_asks_the_program_and_programs_take_what_it_wrote(tmp_path, monkeypatch, table):
    table.write_text(table.read_text() + '\n[programs.browser-infer]\nbase = { weights = { model = "browser" } }\n')
    forget()
    program = tmp_path / "browser-infer"
    program.write_text(
        f"#!{sys.executable}\nimport shutil, sys\n"
        "assert sys.argv[1:3] == ['checkpoint', 'convert'] and sys.argv[5:] == ['--config', 'base']\n"
        "if 'refuse' in open(sys.argv[3], 'rb').read().decode(errors='replace'): sys.exit('browser-infer: refused')\n"
        "shutil.copy(sys.argv[3], sys.argv[4])\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert "`uv run fusion-core weights fetch browser`" in call("convert", "browser").stderr
    for note, code in (("refuse", 2), ("fine", 0)):
        path = tmp_path / "browser.pth"
        path.write_bytes(torch_file(note, head__weight=(2, 2)))
        assert call("add", "browser", path).exit_code == 0
        result = call("convert", "browser")
        assert result.exit_code == code, result.stderr
        if code:
            assert "browser-infer: refused" in result.stderr
            assert stored("browser") == folder_of("browser") / "browser.pth"
            shutil.rmtree(folder_of("browser"))
    assert stored("browser") == folder_of("browser") / "browser.safetensors"
    assert call("convert", "browser").exit_code == 0


def test_convert_of_what_needs_none():
    fetched("sam")
    assert "there is nothing to convert" in call("convert", "sam").stderr
    with pytest.raises(WeightsError):
        weights_table.published("none")
