"""What the files of a data set say of it, and the form of all that can read one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mask_interchange.errors import DatasetError
from mask_interchange.frame_folder import FrameFolder
from mask_interchange.ground_truth import Targets
from mask_interchange.track import Expression, check_unique
from mask_interchange.video import Video


@dataclass(frozen=True, slots=True)
class FaultyVideo:
    """One video's entry that breaks the format: its video fails, the others do not."""

    fault: DatasetError
    entry: object

    def content(self) -> list[object]:
        """What the fingerprint of the data set sees."""
        return ["faulty", self.entry]

    def open(self, name: str) -> Video:
        """Raises DatasetError: the fault."""
        raise self.fault


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedVideo:
    """One video's entry, its structure checked.

    Attributes:
        frame_names: in the order of the video.
        expressions: id, text and group of each, in the order of the file.
        folders: where its frames may lie; the first that is there is taken.
        targets: as in `GroundTruth`.
    """

    frame_names: tuple[str, ...]
    expressions: tuple[tuple[str, str, str | None], ...]
    folders: tuple[Path, ...]
    targets: Targets = field(default_factory=dict)

    def content(self) -> list[object]:
        """What the fingerprint of the data set sees."""
        return [self.frame_names, self.expressions]

    def open(self, name: str) -> Video:
        """The video. Raises MaskInterchangeError."""
        check_unique("frame", self.frame_names)
        return Video(
            id=name,
            expressions=tuple(Expression(id=i, text=text, group=group) for i, text, group in self.expressions),
            source=FrameFolder(next(filter(Path.is_dir, self.folders), self.folders[0]), self.frame_names),
        )


Videos = Mapping[str, DescribedVideo | FaultyVideo]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """One split of a data set.

    Attributes:
        videos: by name, in reading order.
        truth: a folder or file with masks, if there is one.
    """

    videos: Videos
    truth: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFormat:
    """How a data set lies on disk.

    Attributes:
        name: of the data set.
        files: by which it is recognised, for messages.
        splits: how to read each split that a folder holds, by its name (None where the data set has no splits); none
            if the folder holds another data set. It looks at names of files only.
        has_sentences: whether a video without expressions is a fault.
    """

    name: str
    files: str
    splits: Callable[[Path], Mapping[str | None, Callable[[], Description]]]
    has_sentences: bool = True
