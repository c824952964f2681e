"""What a recipe is carried out on, and where: the source, as options of programs name it, and the folder of runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from mask_interchange import Dataset, DatasetError, open_dataset, open_video
from mask_interchange.codec import SUFFIX

from fusion_core.recipe.graph import Recipe
from fusion_core.recipe.nodes import ExistingRun
from fusion_core.running.provenance import ProvenanceStore
from fusion_core.running.worker import STALL

__all__ = ["DatasetSource", "RunContext", "VideoSource"]


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """A data set of any format.

    Attributes:
        root: its folder.
        split: of the release, or None.
    """

    root: Path
    split: str | None = None

    def open(self) -> Dataset:
        """Raises DatasetError."""
        return open_dataset(self.root, self.split)

    def described(self) -> dict[str, str | None]:
        """As `recorded_source` reads it."""
        return {"dataset": str(self.root.absolute()), "split": self.split}

    def arguments(self, *, expressions: bool) -> list[str]:
        """Options of a program; a data set brings its expressions."""
        split = [] if self.split is None else ["--split", self.split]
        return ["--dataset", str(self.root.absolute()), *split]


@dataclass(frozen=True, kw_only=True)
class VideoSource:
    """One video file, or one folder of frames.

    Attributes:
        path: the file or folder.
        expressions: what to segment.
        damaged: what to do about damaged or missing frames of a file.
    """

    path: Path
    expressions: Sequence[str]
    damaged: Literal["stop", "skip"] = "stop"

    def open(self) -> Dataset:
        """Raises DatasetError."""
        return open_video(self.path, self.expressions, self.damaged)

    def described(self) -> dict[str, str | None]:
        """As `recorded_source` reads it."""
        return {"video": str(self.path.absolute()), "damaged": self.damaged}

    def arguments(self, *, expressions: bool) -> list[str]:
        """Options of a program; with the expressions, unless it gets them from another run."""
        texts = [f"--expression={text}" for text in self.expressions] if expressions else []
        damaged = [] if self.damaged == "stop" else ["--damaged", self.damaged]
        return ["--video", str(self.path.absolute()), *damaged, *texts]


Source = DatasetSource | VideoSource


def recorded_source(runs: Path) -> Source | None:
    """What the runs of a folder were made on, if a command of this package made them; a video without expressions."""
    match ProvenanceStore(runs).source():
        case {"dataset": str(root), "split": str() | None as split}:
            return DatasetSource(root=Path(root), split=split)
        case {"video": str(path), "damaged": "stop" | "skip" as damaged}:
            return VideoSource(path=Path(path), expressions=(), damaged=damaged)
    return None


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What a recipe is carried out on, and where.

    Attributes:
        recipe: its models have their weights (`recipe.weights.with_weights`).
        source: a data set, or one video with expressions.
        dataset: the source, opened.
        provenance: of the folder of runs.
        device: the programs' option `--device`.
        stall: seconds after which a worker that has given no sign of life is replaced.
    """

    recipe: Recipe
    source: Source
    dataset: Dataset
    provenance: ProvenanceStore
    device: str = "auto"
    stall: float = STALL
    _frames: dict[str, str | None] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def open(cls, recipe: Recipe, source: Source, runs: Path, device: str = "auto", stall: float = STALL) -> Self:
        """Open the source of a recipe; every node gets a run of its name in the folder `runs`.

        Raises:
            DatasetError: the source cannot be opened.
        """
        return cls(
            recipe=recipe,
            source=source,
            dataset=source.open(),
            provenance=ProvenanceStore(runs),
            device=device,
            stall=stall,
        )

    @property
    def memory(self) -> float:
        """GiB of main memory that the largest model needs."""
        return max((model.memory for model in self.recipe.models), default=0.0)

    def run(self, name: str) -> Path:
        """Folder of the run `name`."""
        node = self.recipe.node(name)
        return node.path if isinstance(node, ExistingRun) else self.provenance.runs / name

    def masks(self, run: str, video: str) -> Path:
        """File with a video's masks."""
        return self.run(run) / "videos" / (video + SUFFIX)

    def frames_sha256(self, video: str) -> str | None:
        """SHA-256 of a video's frames as this command found them; None if they cannot be read: the program says why."""
        if video not in self._frames:
            self._frames[video] = self._frames_sha256_now(video)
        return self._frames[video]

    def frames_changed(self, video: str) -> bool:
        """Whether a video's frames are no longer those that this command found."""
        return self._frames_sha256_now(video) != self.frames_sha256(video)

    def _frames_sha256_now(self, video: str) -> str | None:
        try:
            return self.dataset.videos[video].fingerprint()
        except DatasetError:
            return None
