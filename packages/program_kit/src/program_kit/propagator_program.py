"""A mask propagator as a program: what it says of itself, and its work on runs, PNGs and prompts."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar

from mask_interchange.dataset import Dataset
from mask_interchange.differences import dataset_difference
from mask_interchange.json_files import Json, JsonPlace
from mask_interchange.run import MaskRun, RunManifest
from mask_interchange.track import VideoMasks
from mask_interchange.video import Video

from program_kit.errors import InputError
from program_kit.messages import log
from program_kit.options import (
    Precision,
)
from program_kit.outputs import OutputRuns
from program_kit.progress import ProgressCallback
from program_kit.prompts import Prompt, parse_prompts, read_prompts
from program_kit.propagation import (
    check_memory,
    expect_tracks,
    propagate_labels,
    propagate_prompts,
    propagate_tracks,
    read_labels,
)
from program_kit.propagator import Job, Propagator
from program_kit.run_loop import Process, run_videos
from program_kit.stretch import ALL, check_in_stretch, frames_as_text, parse_frames, stretch_of
from program_kit.weights import TakesWeights, WeightsChoice

Own = TypeVar("Own")  # a program's own options


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagatorRequest(Generic[Own]):
    """What a program is asked to load.

    Attributes:
        config: one of the program's configurations.
        weights: checkpoints, or a seed.
        device: `auto`, `cpu`, `cuda` or `cuda:<i>`.
        precision: as `program_kit.torch.precision` has it.
        options: the program's own.
    """

    config: str
    weights: WeightsChoice
    device: str
    precision: Precision
    options: Own


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagatorProgram(TakesWeights, Generic[Own]):
    """A mask propagator. Its name, configurations and weights are described in `TakesWeights`.

    Attributes:
        version: goes into manifests.
        about: one sentence for `--help`.
        error: base of its user errors, which are shown without a traceback.
        options: a dataclass of the options that only this program has. Every field is
            `name: Annotated[type, typer.Option(...)] = default` and becomes an option of the command line.
        settings: what a manifest says of a request beside configuration and weights: all that changes masks, as JSON.
        load: make the propagator. Heavy libraries are imported inside, so that `--help` stays quick.
        convert: write a published checkpoint (source) of a configuration as safetensors (target); None for a program
            that takes published weights as they are.
        max_objects: the highest object id that a configuration's network takes, unless the user gives
            `--more-objects`; None for a program without such a limit.
        prompts: whether the propagator is a `PromptedPropagator`, and the program has the option `--prompts`.
    """

    version: str
    about: str
    error: type[Exception]
    options: type[Own]
    settings: Callable[[PropagatorRequest[Own]], Mapping[str, Any]]
    load: Callable[[PropagatorRequest[Own]], Propagator]
    convert: Callable[[Path, Path, str], None] | None = None
    max_objects: Callable[[str], int] | None = None
    prompts: bool = False


def _tell_of_tracks_that_stay(sources: Sequence[VideoMasks], frames: slice) -> None:
    """Say how many tracks have their key frames elsewhere."""
    for source in sources:
        made = range(len(source.frame_names))[frames]
        stay = sum(track.key_frame not in (*made, None) for track in source.tracks)
        if stay:
            log.warning(
                f"note: video {source.video}: {stay} of {len(source.tracks)} tracks stay as they are: their key frames "
                f"are not among the frames {frames_as_text(frames)}; --every-mask takes their other masks"
            )


@dataclass(frozen=True, slots=True)
class PropagatorWork:
    """A request on its way through the run loop."""

    program: PropagatorProgram[Any]
    request: PropagatorRequest[Any]
    soft_masks: int | None
    videos: str | None
    threads: int
    frames: slice
    every_mask: bool

    def propagate_runs(self, data: Dataset, sources: Sequence[MaskRun], out: Sequence[Path]) -> int:
        """Propagate the key frames of several runs together; returns the exit code."""
        for run in sources:
            _check_dataset(run, data)
        wanted = [(path, self._manifest_of(run, data, path)) for run, path in zip(sources, out, strict=True)]

        outputs = OutputRuns.create(wanted, data, sources)
        return run_videos(outputs, data, lambda: _RunsProcess(self, sources), self.videos, self.program.error)

    def propagate_masks(self, data: Dataset, masks: Mapping[int, Path], more_objects: bool, out: Path) -> int:
        """Propagate the objects of PNGs, by their frames, through one video; returns the exit code."""
        limit = self.program.max_objects
        most = None if more_objects or limit is None else limit(self.request.config)
        labels = {frame: read_labels(mask, most) for frame, mask in masks.items()}
        described = [
            {"mask_sha256": sha256(one.tobytes()).hexdigest(), "size": list(one.shape), "frame": frame}
            for frame, one in labels.items()
        ]
        (key_frame, first), *more = labels.items()
        job = Job(key_frame, first, dict(more))
        job.check(data.videos[data.name])
        self._check_frames(data, labels)

        def load() -> Process:
            propagator = self._load_for(data.videos[data.name], [len(job.object_ids)], len(labels))

            def process(video: Video, progress: ProgressCallback, details: Json) -> Sequence[VideoMasks]:
                frames, _ = self.asked(details)
                found = propagate_labels(
                    propagator, video, first, key_frame, progress, self.soft_masks, more=job.more, frames=frames
                )
                return [found]

            return process

        source = described[0] if len(described) == 1 else {"masks": described}
        outputs = OutputRuns.create([(out, self._manifest(data, source))], data)
        return run_videos(outputs, data, load, self.videos, self.program.error)

    def _check_frames(self, data: Dataset, given: Iterable[int]) -> None:
        """Check that the given masks are of frames that are made, before the network is loaded."""
        stretch = stretch_of(data.videos[data.name], self.frames)
        for frame in given:
            check_in_stretch(stretch, frame)

    def propagate_prompts(self, data: Dataset, file: Path, out: Path) -> int:
        """Propagate what a file of prompts points at in one video; returns the exit code."""
        prompts = read_prompts(file)
        video = data.videos[data.name]
        for name, prompt in prompts.items():
            prompt.check(name, video.size, len(video))
        self._check_frames(data, [prompt.frame for prompt in prompts.values()])
        listed = json.dumps([(name, asdict(prompt)) for name, prompt in prompts.items()])
        source = {"prompts_sha256": sha256(listed.encode()).hexdigest()}

        def load() -> Process:
            propagator: Any = self._load_for(video, [1] * len(prompts))  # a PromptedPropagator, as the program says

            def process(video: Video, progress: ProgressCallback, details: Json) -> Sequence[VideoMasks]:
                frames, asked = self.asked(details)
                wanted = asked or prompts
                return [propagate_prompts(propagator, video, wanted, progress, self.soft_masks, frames=frames)]

            return process

        outputs = OutputRuns.create([(out, self._manifest(data, source))], data)
        return run_videos(outputs, data, load, self.videos, self.program.error)

    def asked(self, details: Json) -> tuple[slice, dict[str, Prompt]]:
        """The frames to make, and the prompts to start from; none where masks are given.

        Raises:
            InputError, DatasetError: the details of an order are no such thing.
        """
        at = JsonPlace(Path("order"))
        if unknown := [key for key in details if key not in ("frames", "prompts")]:
            raise InputError(f"{at}: expected frames or prompts, found {unknown[0]!r:.80}")
        given = at.optional(details, "frames", str)
        frames = self.frames if given is None else parse_frames(given)
        if (pointed := at.optional(details, "prompts", dict)) is None:
            return frames, {}
        if not self.program.prompts:
            raise InputError(f"{at / 'prompts'}: {self.program.name} takes masks only")
        return frames, parse_prompts(at / "prompts", pointed)

    def _load_for(self, video: Video, objects: Sequence[int], references: int = 1) -> Propagator:
        """The propagator, if it has memory for the only video's jobs of so many objects."""
        propagator = self.program.load(self.request)
        check_memory(propagator, video, objects, references)
        return propagator

    def _manifest_of(self, source: MaskRun, data: Dataset, path: Path) -> RunManifest:
        if path.resolve() == source.path.resolve():
            raise InputError(f"--out {path} is the run that --masks reads; give another folder")
        return self._manifest(data, {"run": source.name, "manifest_sha256": source.manifest.sha256})

    def _manifest(self, data: Dataset, source: Mapping[str, Any]) -> RunManifest:
        """Says everything that changes masks."""
        settings = {
            "config": self.request.config,
            **self.program.settings(self.request),
            "soft_masks": self.soft_masks,
            "precision": self.request.precision,
            "threads": self.threads,
            "source": source,
            **({} if self.frames == ALL else {"frames": [self.frames.start, self.frames.stop]}),
            **({"every_mask": True} if self.every_mask else {}),
        }
        return RunManifest(
            producer=self.program.name,
            producer_version=self.program.version,
            checkpoint_sha256=self.request.weights.sha256(),
            settings=settings | self.request.weights.settings,
            dataset=data.identity,
        )


class _RunsProcess:
    """Propagates the key frames of several runs, video by video; the next one is read ahead."""

    def __init__(self, work: PropagatorWork, sources: Sequence[MaskRun]):
        self._work = work
        self._sources = sources
        self._propagator: Any = work.program.load(work.request)  # a PromptedPropagator where the program says so

    def __call__(self, video: Video, progress: ProgressCallback, details: Json) -> Sequence[VideoMasks]:
        work = self._work
        frames, prompts = work.asked(details)
        if prompts:
            found = propagate_prompts(self._propagator, video, prompts, progress, work.soft_masks, frames=frames)
            return [found] * len(self._sources)
        masks = self._masks(video)
        if not work.every_mask:
            _tell_of_tracks_that_stay(masks, frames)
        return propagate_tracks(
            self._propagator, video, masks, progress, work.soft_masks, frames=frames, every_mask=work.every_mask
        )

    def expect(self, video: Video) -> None:
        expect_tracks(self._propagator, video, lambda: self._masks(video), self._work.frames, self._work.every_mask)

    def _masks(self, video: Video) -> list[VideoMasks]:
        return [run.read(video.id) for run in self._sources]


def _check_dataset(run: MaskRun, data: Dataset) -> None:
    """Check that a run was made on the data set."""
    theirs, ours = run.manifest.dataset, data.identity
    if theirs["fingerprint"] not in (None, ours["fingerprint"]):
        why = dataset_difference(run.sound_videos(), data)
        raise InputError(
            f"--masks {run.path}: the masks were made on another data set ({theirs['name']}, split {theirs['split']}) "
            f"than {ours['name']}, split {ours['split']}: {why}; give the right one"
        )
