"""The parts of a training data set, and which of them are missing.

ROOT/ref-youtube-vos/ (or ROOT itself)   meta_expressions/train/meta_expressions.json
                                         train/JPEGImages/<video>/<frame>.jpg
                                         train/Annotations/<video>/<frame>.png
ROOT/coco/train2014/<image>.jpg          the images of all four image sets
ROOT/coco/instances_<name>_train.json    refcoco, refcoco+, refcocog, grefcoco; also in coco/<name>/
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mask_interchange import Dataset, open_dataset

from rvos_training.errors import TrainingError

META = "meta_expressions"
VIDEOS = "ref-youtube-vos"
IMAGES = Path("coco") / "train2014"


@dataclass(frozen=True, slots=True)
class AnnotatedVideos:
    """Videos, and the folder of their ground truth masks, `<video>/<frame>.png`."""

    dataset: Dataset
    annotations: Path


NO_VIDEOS = AnnotatedVideos(Dataset(name="none", root=None, split=None, videos={}, fingerprint=""), Path())


@dataclass(frozen=True, slots=True)
class DataParts:
    """What a training reads.

    Attributes:
        videos: to train on; an empty data set where none are wanted.
        validation: to score on; None where the split `valid` has no annotations.
        images: folder of the images of all image sets.
        image_files: JSON files of the image sets.
    """

    videos: AnnotatedVideos
    validation: AnnotatedVideos | None
    images: Path
    image_files: tuple[Path, ...]

    def settings(self, content: Mapping[str, str]) -> dict[str, str]:
        """What a resuming training compares of its data: expressions, and `content`, the hashes of what was read."""
        splits = {"training": self.videos, "validation": self.validation}
        fingerprints = {f"{name} expressions": split.dataset.fingerprint for name, split in splits.items() if split}
        return {f"data, {part}": sha256[:16] for part, sha256 in {**fingerprints, **content}.items()}


def open_parts(root: Path, image_sets: tuple[str, ...], videos_too: bool = True) -> DataParts:
    """Open a training data set.

    Args:
        root: folder as described above. The flat form (`meta_expressions.json`, `JPEGImages`, `Annotations` in one
            folder) holds training videos and no validation split.
        image_sets: names of the image sets to read.
        videos_too: whether to read videos.

    Raises:
        TrainingError: parts are missing; lists all of them.
        DatasetError: a JSON file does not have the expected form.
    """
    videos = root if _described(root) else root / VIDEOS
    files = tuple(_image_file(root / "coco", name) for name in image_sets)
    missing = [f"{file}: expressions of {name}, in MDETR's format" for name, file in zip(image_sets, files, strict=True)
               if not file.is_file()]  # fmt: skip
    if image_sets and not (root / IMAGES).is_dir():
        missing.append(f"{root / IMAGES}: images of COCO's train2014")
    missing += _missing_of(videos) if videos_too else []
    if missing:
        raise TrainingError(f"{root}: parts of the training data are missing; add\n  " + "\n  ".join(missing))
    return DataParts(
        videos=_training_videos(videos) if videos_too else NO_VIDEOS,
        validation=_validation(videos),
        images=root / IMAGES,
        image_files=files,
    )


def _image_file(folder: Path, name: str) -> Path:
    """The JSON file of an image set, beside the others or, as published, in a folder of its own."""
    file = f"instances_{name}_train.json"
    own = folder / name / file
    return own if own.is_file() and not (folder / file).is_file() else folder / file


def _described(root: Path) -> bool:
    return (root / META).is_dir() or (root / f"{META}.json").is_file()


def _folder(videos: Path) -> tuple[str | None, Path]:
    """Split and folder of the training videos."""
    return (None, videos) if (videos / f"{META}.json").is_file() else ("train", videos / "train")


def _missing_of(videos: Path) -> list[str]:
    split, folder = _folder(videos)
    file = videos / META / "train" / f"{META}.json"
    parts = {
        f"{file}: expressions of Ref-YouTube-VOS, split train": split is None or file.is_file(),
        f"{folder / 'JPEGImages'}: frames <video>/<frame>.jpg": (folder / "JPEGImages").is_dir(),
        f"{folder / 'Annotations'}: masks <video>/<frame>.png": (folder / "Annotations").is_dir(),
    }
    return [part for part, there in parts.items() if not there]


def _training_videos(videos: Path) -> AnnotatedVideos:
    split, folder = _folder(videos)
    return AnnotatedVideos(open_dataset(videos, split), folder / "Annotations")


def _validation(videos: Path) -> AnnotatedVideos | None:
    """The split `valid`, where it has annotations."""
    annotations = videos / "valid" / "Annotations"
    if not annotations.is_dir() or not (videos / META / "valid" / f"{META}.json").is_file():
        return None
    return AnnotatedVideos(open_dataset(videos, "valid"), annotations)
