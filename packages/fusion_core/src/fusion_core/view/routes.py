"""What the server answers. Videos, runs and expressions are numbers of tables that it holds, never parts of paths."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from mask_interchange import DatasetError, MaskInterchangeError
from mask_interchange.json_files import JsonPlace
from program_kit.distributions import version_of
from program_kit.prompts import parse_prompts
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fusion_core.view.answers import answering, failed
from fusion_core.view.clicks import Clicks
from fusion_core.view.corrected_run import CorrectedRun
from fusion_core.view.corrections import Change, ConflictError
from fusion_core.view.pictures import WIDTHS
from fusion_core.view.propagation import Job, Propagation
from fusion_core.view.request_values import (
    NotThereError,
    RequestError,
    check_number,
    json_object,
    number,
    seen_revision,
    stretch,
    whole_numbers,
)

AT_ONCE = 2  # requests that need the processor
MASKS_AT_ONCE = 64  # of one request
CHANGES = frozenset({"take", "clear", "lock", "unlock"})

SCRIPTS = (
    "view",
    "correcting",
    "hands",
    "server",
    "pictures",
    "masks",
    "stage",
    "strip",
    "tiles",
    "entries",
    "tools",
    "corrections",
    "jobs",
    "clicks",
)
ASSETS: Mapping[str, tuple[str, str, str]] = {  # name in the address: package, file, type
    "view.css": ("fusion_core.view", "page/view.css", "text/css"),
    "icon.svg": ("fusion_core.view", "page/icon.svg", "image/svg+xml"),
    "report.css": ("fusion_core.report", "templates/report.css", "text/css"),
    "run_lengths.js": ("fusion_core.report", "templates/run_lengths.js", "text/javascript"),
    **{f"{name}.js": ("fusion_core.view", f"page/{name}.js", "text/javascript") for name in SCRIPTS},
}


def make_app(corrected: CorrectedRun, propagation: Propagation, clicks: Clicks) -> Starlette:
    """The server of a library, its corrections, what carries them on, and what answers clicks."""
    views = _Views(corrected, propagation, clicks)
    video = "/api/videos/{v:int}"
    table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("GET", "/", views.page),
        ("GET", "/assets/{name}", views.asset),
        ("GET", "/api/session", views.session),
        ("GET", video, views.video),
        ("GET", video + "/problem", views.problem),
        ("GET", video + "/frames/{i:int}.jpg", views.frame),
        ("GET", video + "/masks", views.masks),
        ("GET", video + "/track", views.track),
        ("GET", video + "/votes", views.votes),
        ("GET", video + "/disagreement", views.disagreement),
        ("GET", video + "/edits", views.edits),
        ("PUT", video + "/edits/{e:int}/{i:int}", views.draw),
        ("POST", video + "/stretches", views.change),
        ("POST", video + "/undo", views.undo),
        ("POST", video + "/redo", views.redo),
        ("POST", video + "/clicks", views.click),
        ("POST", "/api/save", views.save),
        ("POST", "/api/jobs", views.start_job),
        ("GET", "/api/jobs", views.job),
        ("DELETE", "/api/jobs/{number:int}", views.stop_job),
    ]
    return Starlette(routes=[Route(path, endpoint, methods=[method]) for method, path, endpoint in table])


@dataclass
class _Views:
    corrected: CorrectedRun
    propagation: Propagation
    clicks: Clicks

    def __post_init__(self) -> None:
        self.library = self.corrected.library
        self.key = secrets.token_hex(8)  # in the addresses of frames, which browsers keep
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def _compute(self, work: Callable[[], Any]) -> Any:
        """Do what takes time in a thread, few at once."""
        async with self._turn:
            return await run_in_threadpool(work)

    # --- looking ------------------------------------------------------------------------------------------------------

    @answering
    async def page(self, request: Request) -> Response:
        return Response(_file("fusion_core.view", "page/view.html"), media_type="text/html")

    @answering
    async def asset(self, request: Request) -> Response:
        if (name := request.path_params["name"]) not in ASSETS:
            raise NotThereError("no such file")
        package, file, kind = ASSETS[name]
        return Response(_file(package, file), media_type=kind)

    @answering
    async def session(self, request: Request) -> Response:
        library = self.library

        def described() -> dict[str, object]:
            videos = []
            for v, video in enumerate(library.videos):
                try:
                    expressions = [{"id": one.id, "text": one.text} for one in library.expressions(v)]
                    videos.append({"id": video, "expressions": expressions, "problem": None})
                except MaskInterchangeError as error:
                    videos.append({"id": video, "expressions": [], "problem": str(error)})
            return {
                "version": version_of("fusion-core"),
                "dataset": library.dataset.name,
                "split": library.dataset.split,
                "runs": [{"name": run.name, "producer": run.manifest.producer} for run in library.runs],
                "source": self.corrected.source,
                "readOnly": self.corrected.read_only,
                "videos": videos,
                "propagators": self.propagation.available,
                "missing": self.propagation.missing,
                "noClicks": self.clicks.problem,
                "key": self.key,
                "widths": WIDTHS,
            }

        return JSONResponse(await self._compute(described))

    @answering
    async def video(self, request: Request) -> Response:
        v = request.path_params["v"]

        def described() -> dict[str, object]:
            opened = self.library.open(v)
            names = opened.frame_names
            runs = range(len(self.library.runs))
            expressions = opened.video.expressions
            return {
                "id": opened.video.id,
                "size": opened.size,
                "frames": opened.frames,
                "names": None if names == tuple(f"{i:05d}" for i in range(len(names))) else names,
                "expressions": [{"id": one.id, "text": one.text} for one in expressions],
                "tracks": [[opened.track(run, e) is not None for e in range(len(expressions))] for run in runs],
                "problems": [opened.problems.get(run) for run in runs],
                **self._state(v),
            }

        return JSONResponse(await self._compute(described))

    @answering
    async def problem(self, request: Request) -> Response:
        opened = await self._compute(lambda: self.library.open(request.path_params["v"]))
        return JSONResponse({"isChecked": opened.is_checked, "problem": opened.problem})

    def _state(self, v: int) -> dict[str, object]:
        """What corrections change of a video."""
        corrections = self.corrected.corrections(v)
        return {
            "revision": corrections.revision,
            "parts": [corrections.parts(e) for e in range(len(corrections.expressions))],
            "canUndo": corrections.can_undo,
            "canRedo": corrections.can_redo,
            "saved": self.corrected.is_saved,
        }

    @answering
    async def frame(self, request: Request) -> Response:
        width = number(request.query_params, "w", optional=True)
        if width not in {None, *WIDTHS}:
            raise RequestError(f"expected a width of {' or '.join(map(str, WIDTHS))}, found {width}")
        v, i = request.path_params["v"], request.path_params["i"]

        async with self._turn:
            if await request.is_disconnected():
                return Response(status_code=499)
            data = await run_in_threadpool(lambda: self.library.picture(v, i, width))
        return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400, immutable"})

    @answering
    async def masks(self, request: Request) -> Response:
        v, query = request.path_params["v"], request.query_params
        run, e = number(query, "run"), number(query, "e")
        start, stop = stretch(query, MASKS_AT_ONCE)

        def strings() -> bytes:
            opened = self.library.open(v)
            check_number(run, len(self.library.runs), "run")
            check_number(e, len(opened.video.expressions), "expression")
            return b"\n".join(opened.strings(run, e, start, min(stop, opened.frames)))

        return PlainTextResponse(await self._compute(strings))

    @answering
    async def track(self, request: Request) -> Response:
        v, query = request.path_params["v"], request.query_params
        run, e = number(query, "run"), number(query, "e")

        def described() -> dict[str, object]:
            opened = self.library.open(v)
            check_number(run, len(self.library.runs), "run")
            check_number(e, len(opened.video.expressions), "expression")
            track = opened.track(run, e)
            if track is None:
                return {"scores": None, "key": None}
            scores = None if track.scores is None else [round(float(score), 3) for score in track.scores]
            return {"scores": scores, "key": track.key_frame}

        return JSONResponse(await self._compute(described))

    @answering
    async def votes(self, request: Request) -> Response:
        v, query = request.path_params["v"], request.query_params
        run, e = number(query, "run"), number(query, "e")

        def counted() -> object:
            check_number(run, len(self.library.runs), "run")
            check_number(e, len(self.library.open(v).video.expressions), "expression")
            count = self.library.votes(v, run, e)
            if count is None:
                return None
            numbers = {one.name: number for number, one in enumerate(self.library.runs)}
            return {"voters": [[numbers[name], index] for name, index in count.voters], "needed": count.needed}

        return JSONResponse(await self._compute(counted))

    @answering
    async def disagreement(self, request: Request) -> Response:
        v, e = request.path_params["v"], number(request.query_params, "e")

        def values() -> list[float] | None:
            check_number(e, len(self.library.open(v).video.expressions), "expression")
            found = self.library.disagreement(v, e)
            return None if found is None else [round(float(value), 3) for value in found]

        return JSONResponse(await self._compute(values))

    # --- correcting ---------------------------------------------------------------------------------------------------

    @answering
    async def edits(self, request: Request) -> Response:
        v, query = request.path_params["v"], request.query_params
        e, (start, stop) = number(query, "e"), stretch(query, MASKS_AT_ONCE)

        def described() -> dict[str, object]:
            corrections = self.corrected.corrections(v)
            self._check_place(v, e, start)
            with corrections.lock:
                frames = [self._frame(v, e, i) for i in range(start, min(stop, self.library.open(v).frames))]
            return {"revision": corrections.revision, "frames": frames}

        return JSONResponse(await self._compute(described))

    def _frame(self, v: int, e: int, i: int) -> dict[str, object]:
        corrections = self.corrected.corrections(v)
        return {"mask": self.corrected.mask(v, e, i).decode(), "revision": corrections.frame_revision(e, i)}

    def _check_place(self, v: int, e: int, i: int) -> None:
        opened = self.library.open(v)
        check_number(e, len(opened.video.expressions), "expression")
        check_number(i, opened.frames, "frame")

    @answering
    async def draw(self, request: Request) -> Response:
        v, e, i = (request.path_params[name] for name in "vei")
        seen, counts = seen_revision(request), await request.body()
        if seen is None:
            return failed(428, "expected the header If-Match with the revision of the frame")

        def drawn() -> Response:
            corrections = self.corrected.corrections(v)
            self._check_place(v, e, i)
            self.corrected.begin()
            try:
                revision = corrections.draw(e, i, counts, seen)
            except ConflictError as error:
                return JSONResponse({"error": str(error), **self._frame(v, e, i), **self._state(v)}, 412)
            self.corrected.changed()
            return JSONResponse({"frame": revision, **self._state(v)}, headers={"etag": f'"{revision}"'})

        return await self._compute(drawn)

    @answering
    async def change(self, request: Request) -> Response:
        v, seen = request.path_params["v"], seen_revision(request)
        if seen is None or not seen.isdecimal():
            return failed(428, "expected the header If-Match with the revision of the video")
        wanted = json_object(await request.body(), {"kind", "e", "from", "to", "run"})
        kind, (e, start, stop) = wanted.get("kind"), whole_numbers(wanted, "e", "from", "to")
        if kind not in CHANGES:
            raise RequestError(f"expected a kind: {', '.join(sorted(CHANGES))}")

        def changed() -> Response:
            corrections = self.corrected.corrections(v)
            self._check_place(v, e, start)
            if not start < stop <= self.library.open(v).frames:
                raise RequestError(f"expected frames of the video, found {start} to {stop}")
            masks = name = None
            if kind == "take":
                [run] = whole_numbers(wanted, "run")
                check_number(run, len(self.library.runs), "run")
                opened, name = self.library.open(v), self.library.runs[run].name
                if opened.track(run, e) is None:
                    raise NotThereError(f"the run {name} has no masks of this expression")
                masks = lambda a, b: opened.strings(run, e, a, b)  # noqa: E731
            self.corrected.begin()
            try:
                done = corrections.change(kind, e, start, stop, int(seen), masks=masks, run=name)
            except ConflictError as error:
                return JSONResponse({"error": str(error), **self._state(v)}, 412)
            return self._changed(v, done)

        return await self._compute(changed)

    def _changed(self, v: int, change: Change) -> Response:
        self.corrected.changed()
        where = {"e": change.expression, "from": change.start, "to": change.stop}
        return JSONResponse({"changed": where, **self._state(v)})

    @answering
    async def undo(self, request: Request) -> Response:
        return await self._compute(lambda: self._turned(request.path_params["v"], "undo"))

    @answering
    async def redo(self, request: Request) -> Response:
        return await self._compute(lambda: self._turned(request.path_params["v"], "redo"))

    def _turned(self, v: int, direction: str) -> Response:
        corrections = self.corrected.corrections(v)
        self.corrected.begin()
        return self._changed(v, corrections.undo() if direction == "undo" else corrections.redo())

    @answering
    async def save(self, request: Request) -> Response:
        await self._compute(self.corrected.save)
        return JSONResponse({"saved": self.corrected.is_saved, "path": str(self.corrected.path)})

    # --- carrying on --------------------------------------------------------------------------------------------------

    @answering
    async def start_job(self, request: Request) -> Response:
        wanted = json_object(await request.body(), {"v", "e", "from", "to", "propagator"})
        v, e, start, stop = whole_numbers(wanted, "v", "e", "from", "to")

        def started() -> Job:
            self._check_place(v, e, start)
            return self.propagation.start(v, e, start, stop, str(wanted.get("propagator")))

        return JSONResponse(asdict(await self._compute(started)))

    @answering
    async def job(self, request: Request) -> Response:
        job = self.propagation.job
        if job is None:
            return JSONResponse(None)
        return JSONResponse({**asdict(job), **await self._compute(lambda: self._state(job.v))})

    @answering
    async def stop_job(self, request: Request) -> Response:
        return JSONResponse(asdict(await self._compute(lambda: self.propagation.stop(request.path_params["number"]))))

    @answering
    async def click(self, request: Request) -> Response:
        v = request.path_params["v"]
        wanted = json_object(await request.body(), {"frame", "points", "labels", "box"})
        try:
            [prompt] = parse_prompts(JsonPlace(Path("clicks")), {"click": wanted}).values()
        except DatasetError as error:
            raise RequestError(str(error)) from error
        mask = await run_in_threadpool(lambda: self.clicks.mask(v, prompt))  # waits, and takes no turn of the processor
        return JSONResponse({"mask": mask.decode()})


def _file(package: str, name: str) -> bytes:
    return files(package).joinpath(name).read_bytes()
