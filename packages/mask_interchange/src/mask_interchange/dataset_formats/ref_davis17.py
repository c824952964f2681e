"""Ref-DAVIS17 as it is downloaded: four text files beside DAVIS 2017.

    davis_text_annotations/Davis17_annot1.txt       one person, about the first frame
    davis_text_annotations/Davis17_annot1_full_video.txt
    davis_text_annotations/Davis17_annot2.txt, Davis17_annot2_full_video.txt        another person
    DAVIS/ImageSets/2017/val.txt, DAVIS/JPEGImages/480p/, DAVIS/Annotations/480p/   or without the folder DAVIS

A line is `<video> <object> "<text>"`. As in the public conversion, the expressions of a video are numbered object by
object, the objects sorted as text, and each has four in the order of the files: expression k belongs to annotator k mod
4. The texts were written for the objects of `Annotations`, not of `Annotations_unsupervised`.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from mask_interchange.dataset_formats import davis
from mask_interchange.dataset_formats.description import DatasetFormat, DescribedVideo, Description, FaultyVideo
from mask_interchange.errors import DatasetError
from mask_interchange.files import open_regular

TEXTS = "davis_text_annotations"
FILES = tuple(f"Davis17_annot{person}{part}.txt" for person in (1, 2) for part in ("", "_full_video"))
MISSPELT = {"clasic-car": "classic-car", "dog-scale": "dogs-scale", "motor-bike": "motorbike"}
YEAR = "2017"

Sentences = Mapping[str, Mapping[str, tuple[str, ...]]]  # video -> object -> its texts in one file


def _splits(root: Path) -> Mapping[str | None, Callable[[], Description]]:
    texts = root / TEXTS
    pictures = next((folder for folder in (root / "DAVIS", root) if davis.frame_folder(folder)), None)
    if not texts.is_dir() or pictures is None:
        return {}
    lists = [file for file in davis.video_lists(pictures) if file.parent.name == YEAR]
    return {file.stem: partial(_read, pictures, texts, file) for file in lists}


def _read(root: Path, texts: Path, file: Path) -> Description:
    frames = davis.frame_folder(root)
    assert frames is not None  # else there were no splits
    sentences = [_read_sentences(texts / name) for name in FILES]
    return Description(
        videos={video: _video(frames / video, sentences) for video in davis.listed_videos(file)},
        truth=davis.mask_folder(root),
    )


def _read_sentences(file: Path) -> Sentences:
    """The texts of one file, in the order of its lines.

    Raises:
        DatasetError: a line is not of the form; says which.
    """
    try:
        with open_regular(file) as stream:
            raw = stream.read()
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read: {error.strerror}") from error
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # as the files of the second person are
    videos: dict[str, dict[str, tuple[str, ...]]] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        parts = re.fullmatch(r"(\S+) +([0-9]+) +(.*)", " ".join(line.split()))
        said = parts[3].strip('"').strip() if parts else ""
        if parts is None or not said:
            raise DatasetError(f'{file}: line {number}: expected <video> <object> "<text>", found {line!r:.80}')
        objects = videos.setdefault(MISSPELT.get(parts[1], parts[1]), {})
        objects[parts[2]] = (*objects.get(parts[2], ()), said)
    return videos


def _video(folder: Path, sentences: list[Sentences]) -> DescribedVideo | FaultyVideo:
    try:
        frame_names = davis.frames_of(folder)
        texts = _texts(folder.name, sentences)
    except DatasetError as error:
        return FaultyVideo(error, folder.name)
    return DescribedVideo(
        frame_names=frame_names,
        expressions=tuple((str(k), said, one) for k, (one, said) in enumerate(texts)),
        folders=(folder,),
        targets={str(k): (one,) for k, (one, _) in enumerate(texts)},
    )


def _texts(video: str, sentences: list[Sentences]) -> list[tuple[str, str]]:
    """Object and text of each expression of a video, in order."""
    of_files = [of_file.get(video, {}) for of_file in sentences]
    counts = [{one: len(texts) for one, texts in of_file.items()} for of_file in of_files]
    for file, found in zip(FILES, counts, strict=True):
        if found != counts[0]:
            raise DatasetError(
                f"video {video!r}: expected as many texts of each object in {file} as in {FILES[0]}, "
                f"found {found} and {counts[0]} (object: texts)"
            )
    return [
        (one, said)
        for one in sorted(of_files[0])
        for said in chain.from_iterable(zip(*(of_file[one] for of_file in of_files), strict=True))
    ]


FORMAT = DatasetFormat(name="Ref-DAVIS17", files=f"{TEXTS}/*.txt and DAVIS/JPEGImages/480p", splits=_splits)
