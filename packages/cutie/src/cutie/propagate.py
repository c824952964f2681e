"""Carry the masks of key frames both ways through a video.

Work is ordered by frames, not by masks. One sweep forwards and one sweep backwards serve all jobs of a video; each
direction starts from the references alone. A frame is encoded once and segmented for all jobs under way; a job joins
the sweep at its first reference. Jobs with references of the same frames remember the same images, so that they share
one memory.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from program_kit.errors import InputError
from program_kit.options import Precision
from program_kit.prepared_frames import EncodedFrames, NextVideo
from program_kit.propagator import Frames, Job
from program_kit.torch.memory import check_objects
from program_kit.torch.precision import set_precision
from program_kit.torch.transfer import Download, arrived, to_device
from torch import Tensor

from cutie.competition import compete
from cutie.config import STRIDE
from cutie.encoder import FrameKeys
from cutie.errors import ConfigError
from cutie.memory import Memory
from cutie.model import CHUNK, Cutie, FrameFeatures
from cutie.object_memory import ObjectSummary
from cutie.preprocess import NetworkView
from cutie.settings import PropagationSettings

DEFAULT_CACHE = 2**30  # bytes
MOST_OBJECTS = 255  # of one job: numbers are uint8
# Maps that an object needs besides its memories, as measured: of tokens, of pixels, and of tokens while it is decoded.
WORK, MASKS, DECODING = 12, 8, 64


@dataclass(frozen=True, slots=True)
class SegmentedFrame:
    """One frame of one job; a `program_kit.propagator.PropagatedFrame`.

    Attributes:
        job: index of the job.
        frame: index of the frame; a reference is never segmented.
        reference: the reference that it was carried from.
        ids: the job's object ids; their numbers are 1, 2, ... in this order.
        numbers: uint8 [H, W], the number of the object that each pixel belongs to (0: background).
        probabilities: float32 [n + 1, H, W] on the network's device, background first.
    """

    job: int
    frame: int
    reference: int
    ids: tuple[int, ...]
    numbers: NDArray[np.uint8]
    probabilities: Tensor

    def mask(self, object_id: int | None = None) -> NDArray[np.bool_]:
        """Pixels [H, W] of an object; for None all but background."""
        return self.numbers > 0 if object_id is None else self.numbers == 1 + self.ids.index(object_id)

    def probability(self, object_id: int | None = None) -> NDArray[np.float32]:
        """Probability [H, W] of an object; for None, of any object."""
        if object_id is None:
            return 1 - self.probabilities[0].cpu().numpy()
        return self.probabilities[1 + self.ids.index(object_id)].cpu().numpy()

    def presence(self, object_id: int | None = None) -> None:
        """The network does not tell whether an object is there."""


@dataclass(frozen=True)
class _Task:
    """A job: its index, its object ids in ascending order, and the pixels of each, bool [n, h, w] at network size.

    The pixels stand by the frames of the references.
    """

    job: int
    ids: tuple[int, ...]
    given: Mapping[int, Tensor]


class _Reference(NamedTuple):
    """What is remembered of a frame whose masks were given; `masks` and `sensory` as in `_State`."""

    keys: FrameKeys
    values: Tensor
    summary: ObjectSummary
    sensory: Tensor
    masks: Tensor


@dataclass
class _State:
    """What is known of the objects of a group at some point of a sweep.

    Attributes:
        memory: of frames.
        summary: of objects.
        sensory: float32 [N, C, h, w].
        masks: of the frame before, float32 [N, h, w] at network size.
        passed: the reference that the sweep has passed last.
        since: frames since one was remembered.
    """

    memory: Memory
    summary: ObjectSummary
    sensory: Tensor
    masks: Tensor
    passed: int
    since: int = 0


@dataclass
class _Group:
    """Tasks with references of the same frames: one batch, one memory. Both sweeps begin from the references."""

    frames: tuple[int, ...]
    tasks: Sequence[_Task]
    references: dict[int, _Reference] = field(default_factory=dict)
    state: _State | None = None

    @property
    def counts(self) -> list[int]:
        """Objects of each task."""
        return [len(task.ids) for task in self.tasks]


class _Segmented(NamedTuple):
    """A frame of the tasks of a group.

    Attributes:
        frame: its index.
        reference: the last one that the sweep has passed.
        tasks: of the group.
        numbers: uint8 [H, W] of each, on the network's device.
        probabilities: float32 [n + 1, H, W] of each, there as well.
    """

    frame: int
    reference: int
    tasks: Sequence[_Task]
    numbers: list[Tensor]
    probabilities: list[Tensor]

    def of_jobs(self, numbers: Sequence[NDArray[np.uint8]]) -> Iterator[SegmentedFrame]:
        """What the caller gets, once the numbers are on the processor."""
        for task, own, probabilities in zip(self.tasks, numbers, self.probabilities, strict=True):
            yield SegmentedFrame(task.job, self.frame, self.reference, task.ids, own, probabilities)


class Propagator:
    """Runs jobs on a network.

    Args:
        network: in evaluation mode, on the device to be used.
        settings: the procedure.
        cache_bytes: budget for features of frames that both sweeps need.
        batch: most objects that go through a video together; bounds the memory for their states.
        precision: set on `network`, see `program_kit.torch.precision`; memories stay in float32.
    """

    def __init__(
        self,
        network: Cutie,
        settings: PropagationSettings,
        *,
        cache_bytes: int = DEFAULT_CACHE,
        batch: int = 64,
        precision: Precision = "strict",
    ):
        if batch < 1:
            raise ConfigError(f"batch is at least 1 object, not {batch}")
        self.network = network
        self.settings = settings
        self.batch = batch
        self.cache_bytes = cache_bytes
        self.device = next(network.parameters()).device
        self._products = set_precision(network, precision)
        self._next = NextVideo(self._frames)

    def check_memory(self, size: tuple[int, int], objects: Sequence[int], references: int = 1) -> None:
        """As `program_kit.propagator.LimitedPropagator.check_memory`."""
        together = max([min(self.batch, sum(objects)), *objects])
        pixels = math.prod(NetworkView(size, self.settings.short_side).padded)
        tokens = pixels // STRIDE**2
        token = 4 * self.network.config.dim
        held = self.settings.memory.most_tokens(tokens) + (references - 1 + WORK) * tokens
        check_objects(
            self.device,
            together,
            each=token * held + 4 * MASKS * pixels,
            shared=min(together, CHUNK) * DECODING * token * tokens,
            remedy="give a smaller --batch or --size, or masks of fewer objects",
        )

    def expect(self, begin: Callable[[], tuple[Frames, int]]) -> None:
        """As `program_kit.propagator.ExpectingPropagator.expect`."""
        self._next.expect(begin)

    def propagate(self, video: Frames, jobs: Sequence[Job]) -> Iterator[SegmentedFrame]:
        """Segment every frame but the references for every job, in an order that suits the work.

        Args:
            video: its frames are read when needed, each once for as long as the feature cache holds.
            jobs: any references, any objects.

        Raises:
            InputError: a job does not fit the video; raised before any work is done.
        """
        view = NetworkView(video.size, self.settings.short_side)
        tasks: dict[tuple[int, ...], list[_Task]] = {}
        for index, job in enumerate(jobs):
            job.check(video)
            tasks.setdefault(tuple(job.references), []).append(self._task(index, job, view))
        sweeps: list[tuple[list[_Group], range]] = []
        for groups in self._batches(tasks):
            keys = [frame for group in groups for frame in group.frames]
            both = range(min(keys), len(video)), range(max(keys), -1, -1)
            sweeps += [(groups, order) for order in both if len(order) > 1]
        frames = self._next.reader(video)
        for number, (groups, order) in enumerate(sweeps):
            later = [other for _, other in sweeps[number + 1 :]]
            segmented = self._sweep(groups, frames, order, later, view)
            for found, numbers in arrived((found, Download(found.numbers)) for found in segmented):
                yield from found.of_jobs(numbers)

    def _frames(self, video: Frames) -> EncodedFrames[FrameFeatures]:
        view = NetworkView(video.size, self.settings.short_side)
        return EncodedFrames(video, self.cache_bytes, lambda frame: self._encode(frame, view))

    def _task(self, index: int, job: Job, view: NetworkView) -> _Task:
        ids = tuple(job.object_ids)
        if len(ids) > MOST_OBJECTS:
            raise InputError(f"the mask has {len(ids)} objects, at most {MOST_OBJECTS} can be propagated together")
        of_objects = torch.arange(1, len(ids) + 1, device=self.device)[:, None, None]
        given = {}
        for frame, labels in job.references.items():
            numbers = np.searchsorted(np.array([0, *ids]), labels).astype(np.uint8)
            given[frame] = view.labels(to_device(torch.from_numpy(numbers), self.device)) == of_objects
        return _Task(index, ids, given)

    def _batches(self, tasks: dict[tuple[int, ...], list[_Task]]) -> Iterator[list[_Group]]:
        """Fill batches with groups in the order of their references; a task is never divided."""
        groups: list[_Group] = []
        free = self.batch
        for frames in sorted(tasks):
            for task in tasks[frames]:
                if groups and len(task.ids) > free:
                    yield groups
                    groups, free = [], self.batch
                if groups and groups[-1].frames == frames:
                    groups[-1].tasks = [*groups[-1].tasks, task]
                else:
                    groups.append(_Group(frames, [task]))
                free -= len(task.ids)
        if groups:
            yield groups

    @torch.no_grad()
    def _encode(self, frame: NDArray[np.uint8], view: NetworkView) -> FrameFeatures:
        with self._products:
            return self.network.encode(view.image(frame, self.device))

    def _sweep(
        self,
        groups: Sequence[_Group],
        frames: EncodedFrames[FrameFeatures],
        order: range,
        later: Sequence[range],
        view: NetworkView,
    ) -> Iterator[_Segmented]:
        """One direction: groups join at their first references; `later` are the frames of sweeps that follow."""
        for place, frame in enumerate(order, start=1):
            features = frames.get(frame, order[place:])
            if not any(frame in other for other in later):
                frames.cache.drop(frame)
            is_last = frame == order[-1]
            for group in groups:
                if group.state is not None and frame not in group.frames:
                    yield self._segment(group, group.state, frame, features, view, is_last)
            for group in groups:
                if frame in group.frames and not is_last:
                    self._pass(group, frame, features, frames)
        for group in groups:
            group.state = None

    def _pass(self, group: _Group, frame: int, features: FrameFeatures, frames: EncodedFrames[FrameFeatures]) -> None:
        """Go on from a reference of a group; a sweep that begins there remembers all references."""
        if not group.references:
            for other in group.frames:
                seen = features if other == frame else frames.get(other)
                group.references[other] = self._memorized(group, other, seen)
        here = group.references[frame]
        if group.state is not None:
            group.state = replace(group.state, sensory=here.sensory, masks=here.masks, passed=frame, since=0)
            return
        memory, summary = Memory(self.settings.memory, here.keys, here.values), here.summary
        for other, reference in group.references.items():
            if other != frame:
                memory.add_reference(reference.keys, reference.values)
                summary = summary.plus(reference.summary)
        group.state = _State(memory, summary, here.sensory, here.masks, frame)

    @torch.no_grad()
    def _memorized(self, group: _Group, frame: int, features: FrameFeatures) -> _Reference:
        """What is remembered of a reference; it serves both directions."""
        given = compete(torch.cat([task.given[frame] for task in group.tasks]), group.counts)
        masks = torch.cat([own.softmax(dim=0)[1:] for own in given])
        sensory = self.network.empty_sensory(features, len(masks))
        with self._products:
            found = self.network.memorize(features, masks, sensory, group.counts)
        return _Reference(features.keys, found.values, found.summary, found.sensory, masks)

    @torch.no_grad()
    def _segment(
        self, group: _Group, state: _State, frame: int, features: FrameFeatures, view: NetworkView, is_last: bool
    ) -> _Segmented:
        """One frame for the tasks of a group: read the memory, segment, remember."""
        read = state.memory.read(features.keys, features.size)
        with self._products:
            found = self.network.segment(features, read, state.masks, state.sensory, state.summary, group.counts)
        state.masks = torch.cat([own[1:] for own in found.probabilities])
        state.sensory = found.sensory
        state.since += 1
        if state.since >= self.settings.memory.gap and not is_last:
            self._remember(group, state, features)
        probabilities = [view.restore(own) for own in found.probabilities]
        numbers = [own.argmax(dim=0).to(torch.uint8) for own in probabilities]
        return _Segmented(frame, state.passed, group.tasks, numbers, probabilities)

    def _remember(self, group: _Group, state: _State, features: FrameFeatures) -> None:
        with self._products:
            found = self.network.memorize(features, state.masks, state.sensory, group.counts)
        state.memory.add(features.keys, found.values)
        state.summary = state.summary.plus(found.summary)
        state.sensory = found.sensory
        state.since = 0
