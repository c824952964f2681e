"""DAVIS 2016 and 2017: masks without sentences.

    JPEGImages/480p/<video>/<frame>.jpg             or Full-Resolution
    Annotations/480p/<video>/<frame>.png            label images
    ImageSets/2017/val.txt                          names of the videos, one a line; in 2016 paths of files

A split is called by its year, `2017/val`; where one year alone has it, `val` will do.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from mask_interchange.dataset_formats.description import DatasetFormat, DescribedVideo, Description, FaultyVideo, Videos
from mask_interchange.errors import DatasetError
from mask_interchange.frame_folder import FrameFolder
from mask_interchange.json_files import read_utf8

RESOLUTIONS = ("480p", "Full-Resolution")


def _splits(root: Path) -> Mapping[str | None, Callable[[], Description]]:
    lists = video_lists(root)
    stems = [file.stem for file in lists]
    names = {file: f"{file.parent.name}/{file.stem}" if stems.count(file.stem) > 1 else file.stem for file in lists}
    return {names[file]: partial(_read, root, file) for file in lists}


def video_lists(root: Path) -> list[Path]:
    """The files that list the videos of a split: `ImageSets/<year>/<split>.txt`."""
    return sorted(root.glob("ImageSets/*/*.txt")) if frame_folder(root) else []


def frame_folder(root: Path) -> Path | None:
    """The folder that holds a folder of frames for each video."""
    return next((folder for name in RESOLUTIONS if (folder := root / "JPEGImages" / name).is_dir()), None)


def mask_folder(root: Path) -> Path | None:
    """The folder of label images that goes with `frame_folder`."""
    frames = frame_folder(root)
    masks = None if frames is None else root / "Annotations" / frames.name
    return masks if masks is not None and masks.is_dir() else None


def listed_videos(file: Path) -> list[str]:
    """The videos of a split, once each, in the order of the list.

    Raises:
        DatasetError: the list cannot be read.
    """
    names: dict[str, None] = {}
    for line in read_utf8(file).splitlines():
        if line.strip():
            path = PurePosixPath(line.split()[0])
            names[path.parent.name if path.suffix else path.name] = None
    return list(names)


def frames_of(folder: Path) -> tuple[str, ...]:
    """Names of all frames of a video. Raises DatasetError if there are none."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: expected a folder of frames, found nothing; restore it from the data set")
    return FrameFolder.of(folder).frame_names


def _read(root: Path, file: Path) -> Description:
    frames = frame_folder(root)
    assert frames is not None  # else there were no splits
    return Description(videos=described_folders(frames, listed_videos(file)), truth=mask_folder(root))


def described_folders(frames: Path, names: Iterable[str]) -> Videos:
    """Videos of these names without sentences, each of all frames in its folder."""
    return {name: _video(frames / name) for name in names}


def _video(folder: Path) -> DescribedVideo | FaultyVideo:
    try:
        return DescribedVideo(frame_names=frames_of(folder), expressions=(), folders=(folder,))
    except DatasetError as error:
        return FaultyVideo(error, folder.name)


FORMAT = DatasetFormat(
    name="DAVIS", files="ImageSets/<year>/<split>.txt and JPEGImages/480p", splits=_splits, has_sentences=False
)
