"""What a recipe is carried out on, and where: its source, as the programs' options name it, and the folder of runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mask_interchange import Dataset, DatasetError, open_dataset, open_video
from mask_interchange.codec import SUFFIX

from fusion_core.recipe.graph import ExistingRun, Recipe
from fusion_core.running.provenance import Ledger


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """A data set in the Ref-YouTube-VOS layout.

    Attributes:
        root: its folder.
        split: of the release, or None.
    """

    root: Path
    split: str | None = None

    def open(self) -> Dataset:
        """Raises DatasetError."""
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

    def open(self) -> Dataset:
        """Raises DatasetError."""
        return open_video(self.path, self.expressions)

    def arguments(self, *, sentences: bool) -> list[str]:
        """Options of a program, with the sentences if it does not get them from another run."""
        texts = [f"--expression={text}" for text in self.expressions] if sentences else []
        return ["--video", str(self.path.absolute()), *texts]


Source = DatasetSource | VideoSource


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a recipe is carried out on, and where.

    Attributes:
        recipe: its models have their weights.
        source: videos and sentences, as programs are told.
        dataset: the same, opened.
        ledger: of the folder of runs.
        device: the programs' option `--device`.
    """

    recipe: Recipe
    source: Source
    dataset: Dataset
    ledger: Ledger
    device: str = "auto"
    _frames: dict[str, str | None] = field(default_factory=dict, init=False, repr=False)

    def run(self, name: str) -> Path:
        """Folder of the run `name`."""
        node = self.recipe.node(name)
        return node.path if isinstance(node, ExistingRun) else self.ledger.runs / name

    def masks(self, run: str, video: str) -> Path:
        """File of a video's masks."""
        return self.run(run) / "videos" / (video + SUFFIX)

    def frames(self, video: str) -> str | None:
        """SHA-256 of a video's frames, None if they cannot be read: its program will say why."""
        if video not in self._frames:
            try:
                self._frames[video] = self.dataset.videos[video].fingerprint()
            except DatasetError:
                self._frames[video] = None
        return self._frames[video]
