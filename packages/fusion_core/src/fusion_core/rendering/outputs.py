"""Joins frames, masks and writers: all outputs of one video, in one pass over its frames."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from mask_interchange import MaskRun, MaskTrack, Video, VideoMasks
from mask_interchange.coco import export_coco
from mask_interchange.files import new_folder
from mask_interchange.png_folders import export_annotations
from program_kit.progress import ProgressCallback

from fusion_core.errors import FusionCoreError
from fusion_core.rendering.alignment import matching
from fusion_core.rendering.colours import colours
from fusion_core.rendering.legend import make_legend, missing_letters
from fusion_core.rendering.overlay import cut_out, lay_over
from fusion_core.rendering.video_writer import even, frame_times, pixel_aspect, write_video

Frame = npt.NDArray[np.uint8]


class RenderError(FusionCoreError):
    """Output that cannot be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to make of each video.

    Attributes:
        overlay: an MP4 file with the masks in colour and the expressions.
        rgba: a PNG file for each expression and frame, transparent outside the mask.
        rate: frames a second if the source is images.
        font: for the expressions; None finds one that has their letters.
    """

    overlay: bool
    rgba: bool
    rate: Fraction
    font: Path | None = None


def render_video(
    run: MaskRun,
    video: Video,
    out: Path,
    wanted: Wanted,
    progress: ProgressCallback = lambda done, total: None,
    note: Callable[[str], object] = lambda text: None,
) -> None:
    """Write `overlay/<video>.mp4` and `rgba/<video>/<expression>/<frame>.png` under `out`, whole or not at all.

    Args:
        run: where the masks are.
        video: their frames.
        out: folder to write to.
        wanted: what to make.
        progress: called with frames done and in all.
        note: called with what is not as one might expect in the overlay.

    Raises:
        OSError: they cannot be written.
        MemberError: the run's masks are of other frames.
        DatasetError: a frame cannot be read.
        FontError: the font cannot be read.
    """
    masks = matching(run.read(video.id), video, run.name)
    frames = _counted(video, progress)
    with new_folder(out / "rgba" / video.id) if wanted.rgba else nullcontext() as cut_outs:
        if cut_outs is not None:
            frames = _with_cut_outs(frames, masks, cut_outs)
        if not wanted.overlay:
            for _ in frames:
                pass
            return
        (out / "overlay").mkdir(parents=True, exist_ok=True)
        for text in _overlay_notes(masks, wanted.font):
            note(f"video {video.id}: {text}")
        shown = _overlaid(frames, masks, wanted.font)
        times = frame_times(video, wanted.rate)
        write_video(out / "overlay" / f"{video.id}.mp4", shown, video.size, times, pixel_aspect(video))


def _overlay_notes(masks: VideoMasks, font: Path | None) -> Iterator[str]:
    if missing := missing_letters("".join(map(_text, masks.tracks)), font):
        yield f"no font here has {missing!r}; the overlay shows a placeholder, --font FILE gives another font"
    if masks.size != even(masks.size):
        found, padded = (f"{width}x{height}" for height, width in (masks.size, even(masks.size)))
        yield f"the overlay of {found} pixels is padded to {padded}: many players refuse odd sizes"


def _text(track: MaskTrack) -> str:
    return track.expression.text or track.expression.id


def write_masks(run: MaskRun, out: Path, videos: Iterable[str]) -> None:
    """Write grey PNG masks as `masks/Annotations/<video>/<expression>/<frame>.png`, and `masks/key_frame.json`."""
    export_annotations(run, out / "masks", "grey", videos)


def write_coco(run: MaskRun, out: Path, videos: Iterable[str]) -> None:
    """Write `masks.json`: COCO run lengths, as `fusion-core export --coco` does."""
    export_coco(run, out / "masks.json", videos)


def _counted(video: Video, progress: ProgressCallback) -> Iterator[Frame]:
    for done, frame in enumerate(video.frames(), start=1):
        yield frame
        progress(done, len(video))


def _with_cut_outs(frames: Iterator[Frame], masks: VideoMasks, folder: Path) -> Iterator[Frame]:
    for expression in masks.expression_ids:
        (folder / expression).mkdir(parents=True, exist_ok=True)
    for t, frame in enumerate(frames):
        for track in masks.tracks:
            path = folder / track.expression.id / f"{masks.frame_names[t]}.png"
            # imencode, because imwrite cannot open every path on Windows and does not say why it fails
            done, data = cv2.imencode(".png", cv2.cvtColor(cut_out(frame, track.mask(t)), cv2.COLOR_RGBA2BGRA))
            if not done:
                raise RenderError(f"{path}: could not be encoded as PNG")
            path.write_bytes(data.tobytes())
        yield frame


def _overlaid(frames: Iterator[Frame], masks: VideoMasks, font: Path | None) -> Iterator[Frame]:
    palette = colours(len(masks.tracks))
    texts = [_text(track) for track in masks.tracks]
    legend = make_legend(list(zip(texts, palette, strict=True)), masks.size, font) if texts else None
    for t, frame in enumerate(frames):
        shown = lay_over(frame, ((track.mask(t), colour) for track, colour in zip(masks.tracks, palette, strict=True)))
        if legend is not None:
            legend.lay_over(shown)
        yield shown
