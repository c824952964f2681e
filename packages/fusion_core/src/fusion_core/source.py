"""What a recipe is run on, as the programs' options name it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mask_interchange import Dataset


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """A data set in the Ref-YouTube-VOS layout.

    Attributes:
        root: its folder.
        split: of the release, or None.
    """

    root: Path
    split: str | None = None

    def open(self) -> "Dataset":
        """Raises DatasetError."""
        from mask_interchange import open_dataset

        return open_dataset(self.root, self.split)

    def arguments(self, *, sentences: bool) -> list[str]:
        """Options of a program; a data set brings its sentences."""
        split = [] if self.split is None else ["--split", self.split]
        return ["--dataset", str(self.root.absolute()), *split]


@dataclass(frozen=True, kw_only=True)
class VideoSource:
    """One video file, or one folder of frames.

    Attributes:
        path: the file or folder.
        expressions: what to segment.
    """

    path: Path
    expressions: Sequence[str]

    def open(self) -> "Dataset":
        """Raises DatasetError."""
        from mask_interchange import open_video

        return open_video(self.path, self.expressions)

    def arguments(self, *, sentences: bool) -> list[str]:
        """Options of a program, with the sentences if it does not get them from another run."""
        texts = [f"--expression={text}" for text in self.expressions] if sentences else []
        return ["--video", str(self.path.absolute()), *texts]


Source = DatasetSource | VideoSource
