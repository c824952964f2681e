"""The forms in which a run is written, by name, and one pass over the frames for all that need them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
from mask_interchange import Dataset, MaskInterchangeError, MaskRun, Video
from mask_interchange.coco import export_coco
from mask_interchange.files import temporary_folder
from mask_interchange.png_folders import export_annotations
from mask_interchange.youtube_vis import export_youtube_vis
from program_kit.progress import ProgressCallback

from fusion_core.errors import FusionCoreError, MemberError
from fusion_core.rendering.alignment import matching
from fusion_core.rendering.clip import Clip, Frame, Look, WriteFrame
from fusion_core.rendering.mattes import check_soft, prores, rgba, write_image
from fusion_core.rendering.overlay import overlay

IMAGES = "images"

FromMasks = Callable[[MaskRun, Path, Sequence[str]], object]
FromFrames = Callable[[Clip, Path], AbstractContextManager[WriteFrame]]


class RenderError(FusionCoreError):
    """Output that cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form in which a run can be written.

    Attributes:
        places: the files and folders that it fills below the folder of the export; the first one is the form's own.
        masks: writes it from the masks of a run; None if it needs frames.
        frames: opens the writer of one video, at `<place>/<video>`; None if it needs masks only.
        images: whether `masks` needs the frames as image files, in the form `images`.
    """

    places: tuple[str, ...]
    masks: FromMasks | None = None
    frames: FromFrames | None = None
    images: bool = False


@dataclass(frozen=True, slots=True)
class _InExtra:
    """A function of the module of an extra's name, which is imported when it is needed."""

    extra: str
    function: str

    def module(self) -> ModuleType:
        try:
            return import_module(f"fusion_core.rendering.{self.extra}")
        except ModuleNotFoundError as error:
            advice = f"run `uv run --package fusion-core --extra {self.extra} fusion-core ...`"
            raise RenderError(f"{error.name} is not installed; {advice}") from error

    def __call__(self, *arguments: Any) -> Any:
        return getattr(self.module(), self.function)(*arguments)


@contextmanager
def _images(clip: Clip, folder: Path) -> Iterator[WriteFrame]:
    folder.mkdir(parents=True)

    def write(t: int, frame: Frame) -> None:
        write_image(folder / f"{clip.masks.frame_names[t]}.jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    yield write


def _grey(run: MaskRun, folder: Path, videos: Sequence[str]) -> None:
    export_annotations(run, folder, "grey", videos)


def _palette(run: MaskRun, folder: Path, videos: Sequence[str]) -> None:
    export_annotations(run, folder, "palette", videos)


FORMS = {
    "png": Form(places=("masks",), masks=_grey),
    "palette": Form(places=("palette",), masks=_palette),
    "coco": Form(places=("coco.json",), masks=export_coco),
    "youtube-vis": Form(places=("youtube_vis.json",), masks=export_youtube_vis),
    "overlay": Form(places=("overlay",), frames=overlay),
    "rgba": Form(places=("rgba",), frames=rgba),
    "prores": Form(places=("prores",), frames=prores),
    "exr": Form(places=("exr",), frames=_InExtra("exr", "mattes")),
    "rerun": Form(places=("rerun",), frames=_InExtra("rerun", "recording")),
    IMAGES: Form(places=(IMAGES,), frames=_images),
    "yolo": Form(
        places=("labels", "data.yaml"),
        masks=_InExtra("supervision", "write_yolo"),
        images=True,
    ),
    "pascal": Form(places=("pascal",), masks=_InExtra("supervision", "write_pascal"), images=True),
}


def named_forms(names: str) -> tuple[str, ...]:
    """The forms of a list with commas, and what they need.

    Raises:
        RenderError: there is no such form (lists those that there are), or its extra is not installed.
    """
    asked = dict.fromkeys(names.split(","))
    for name in asked:
        if name not in FORMS:
            raise RenderError(f"--format: expected some of {', '.join(FORMS)}, found {name!r}")
        for write in (FORMS[name].masks, FORMS[name].frames):
            if isinstance(write, _InExtra):
                write.module()  # before hours of work are done for it
    if any(FORMS[name].images for name in asked):
        asked = {IMAGES: None, **asked}
    return tuple(asked)


def needing_frames(forms: Iterable[str]) -> tuple[str, ...]:
    """Those of the forms that are written from the frames."""
    return tuple(name for name in forms if FORMS[name].frames is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who is told about an export.

    Attributes:
        progress: opens the display of a video's progress.
        note: is told what is worth to know and no failure.
        failed: is told why a video failed.
    """

    progress: Callable[[str], AbstractContextManager[ProgressCallback]]
    note: Callable[[str], object]
    failed: Callable[[str, Exception], object]


def export_run(
    run: MaskRun,
    source: Dataset | None,
    videos: Sequence[str],
    out: Path,
    forms: Iterable[str],
    look: Look,
    to: Listener,
) -> list[str]:
    """Write videos of a run in some forms, into an empty folder.

    A video whose frames cannot be read or do not fit the masks fails in the forms that need frames; the others are
    written.

    Args:
        run: where the masks are.
        source: where the frames are; may be None if no form needs them.
        videos: to write.
        out: folder to fill.
        forms: as `named_forms` gives them.
        look: what was chosen about pictures and videos.
        to: is told what happens.

    Returns:
        The videos that did not fail.

    Raises:
        MaskError: a form cannot hold these masks; says where.
        FontError: the font cannot be read.
        OSError: something cannot be written.
    """
    forms = tuple(forms)
    done = list(videos)
    if from_frames := needing_frames(forms):
        done = [
            name
            for name in videos
            if _export_video(run, source.videos if source else {}, name, out, from_frames, look, to)
        ]
    for name in forms:
        form = FORMS[name]
        if form.masks is not None:
            form.masks(run, out / form.places[0], done if form.images else videos)
    return done


def _export_video(
    run: MaskRun, source: Mapping[str, Video], name: str, out: Path, forms: Iterable[str], look: Look, to: Listener
) -> bool:
    with to.progress(name) as progress:
        try:
            if name not in source:
                raise MemberError("the data set or video that was given does not have its frames")
            clip = Clip(
                masks=matching(run.read(name), source[name], run.name), video=source[name], look=look, note=to.note
            )
            check_soft(clip.masks, look)
            _write_video(clip, out, forms, progress)
        except (FusionCoreError, MaskInterchangeError) as error:
            to.failed(name, error)
            return False
    return True


def _write_video(clip: Clip, out: Path, forms: Iterable[str], progress: ProgressCallback) -> None:
    """Write all forms of a video in one pass over its frames, whole or not at all."""
    with temporary_folder(out) as unfinished:
        with ExitStack() as stack:
            writers = [
                stack.enter_context(open_writer(clip, unfinished / FORMS[name].places[0] / clip.video.id))
                for name in forms
                if (open_writer := FORMS[name].frames) is not None
            ]
            for t, frame in enumerate(clip.video.frames()):
                for write in writers:
                    write(t, frame)
                progress(t + 1, len(clip.video))
        for folder in unfinished.iterdir():
            if folder.is_dir():
                (out / folder.name).mkdir(exist_ok=True)
                for made in folder.iterdir():
                    made.replace(out / folder.name / made.name)
