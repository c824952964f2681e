"""All of the training data is looked at before the first step: a fault would show after hours, when its turn comes.

Every image is decoded and every mask made once (`read_once` remembers it); expressions are tokenised at every start.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from mask_interchange import DatasetError, Video
from mask_interchange.frame_folder import FrameFolder
from mask_interchange.images import read_rgb
from rvos_layers.errors import RVOSLayersError

from rvos_training.data.batches import Tokenize
from rvos_training.data.data_parts import AnnotatedVideos
from rvos_training.data.image_clips import ImageClips
from rvos_training.data.object_presence import Presence, annotation_file, read_labels
from rvos_training.data.read_once import Facts, ReadOnce, Unit, raise_faults
from rvos_training.data.referring_clips import clean_text
from rvos_training.data.transforms import swap_sides

EXPRESSIONS_SHOWN = 5


def check_training_videos(videos: AnnotatedVideos, read: ReadOnce) -> Presence:
    """The frames of every video that show each of its objects.

    Raises:
        TrainingError: frames or annotations are missing, unreadable or of another size than the others; lists them.
    """

    def unit(name: str) -> Unit:
        video = videos.dataset.videos[name]
        labels = [annotation_file(videos.annotations, video, frame) for frame in range(len(video))]

        def look() -> Facts:
            _check_frames(video)
            return {"showing": _showing(videos.annotations, video)}

        return Unit(files=(*_frame_files(video), *labels), read=look)

    facts = read("training videos", {name: lambda name=name: unit(name) for name in videos.dataset.videos})
    return {name: {label: frozenset(frames) for label, frames in one["showing"].items()} for name, one in facts.items()}


def check_validation_videos(videos: AnnotatedVideos, read: ReadOnce) -> None:
    """Annotations may be there for some of the frames only; scoring reads them.

    Raises:
        TrainingError: frames are missing, unreadable or of another size than the others; lists them.
    """

    def unit(name: str) -> Unit:
        video = videos.dataset.videos[name]
        annotations = sorted((videos.annotations / name).rglob("*.png"))

        def look() -> Facts:
            _check_frames(video)
            return {}

        return Unit(files=(*_frame_files(video), *annotations), read=look)

    read("validation videos", {name: lambda name=name: unit(name) for name in videos.dataset.videos})


def check_images(clips: ImageClips, read: ReadOnce) -> None:
    """The images and masks of an image set.

    Raises:
        TrainingError: images or masks are missing, unreadable or of another size than the file says; lists them.
    """

    def image(path: Path) -> Unit:
        return Unit(files=(path,), read=lambda: {"size": list(read_rgb(path).shape[:2])})

    def masks() -> Facts:
        raise_faults(f"masks of {clips.file}", list(clips.mask_faults()))
        return {}

    paths = {entry.image.name: entry.image for entry in clips.entries}
    images = read(f"images of {clips.file.name}", {name: lambda path=path: image(path) for name, path in paths.items()})
    sizes = {name: (facts["size"][0], facts["size"][1]) for name, facts in images.items()}
    raise_faults(f"images of {clips.file}", list(clips.size_faults(sizes)))
    read(clips.file.name, {clips.file.name: lambda: Unit(files=(clips.file,), read=masks)})


def check_expressions(videos: AnnotatedVideos, image_sets: Iterable[ImageClips], tokenizer: Tokenize) -> None:
    """Tokenise every expression as it is, and with left and right exchanged.

    Raises:
        TrainingError: the text encoder cannot take some of them; lists them.
    """
    texts = [
        (f"video {video.id!r}, expression {expression.id!r}", clean_text(expression))
        for video in videos.dataset.videos.values()
        for expression in video.expressions
    ]
    texts += [(f"{clips.file.name}, {entry.place}", entry.caption) for clips in image_sets for entry in clips.entries]
    faults = []
    for place, text in texts:
        try:
            tokenizer([text, swap_sides(text), swap_sides(text, faithful=True)])
        except RVOSLayersError as error:
            faults.append(f"{place}: {error}")
    raise_faults("expressions", faults)


def _frame_files(video: Video) -> tuple[Path, ...]:
    assert isinstance(video.source, FrameFolder)  # of `open_dataset`
    try:
        return video.source.files
    except (DatasetError, OSError) as error:
        raise DatasetError(f"{_name(video)}: {error}") from error


def _check_frames(video: Video) -> None:
    if faults := video.check(decode=True):
        more = f" (and {len(faults) - 1} more frames)" if len(faults) > 1 else ""
        raise DatasetError(f"{_name(video)}: {faults[0]}{more}")


def _name(video: Video) -> str:
    """A video and the expressions that need it."""
    names = [expression.id for expression in video.expressions]
    shown = ", ".join(names[:EXPRESSIONS_SHOWN] + ["..."] * (len(names) > EXPRESSIONS_SHOWN))
    return f"video {video.id!r}, expressions {shown}"


def _showing(annotations: Path, video: Video) -> dict[str, list[int]]:
    """Frame indices by object label."""
    seen: dict[str, list[int]] = {}
    for frame in range(len(video)):
        try:
            labels = read_labels(annotations, video, frame)
        except DatasetError as error:
            raise DatasetError(f"{_name(video)}: {error}") from error
        for label in np.flatnonzero(np.bincount(labels.ravel())):
            if label:
                seen.setdefault(str(label), []).append(frame)
    return seen
