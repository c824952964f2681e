"""Carry the masks of key frames both ways through a video.

Work is ordered by frames, not by masks. One sweep forwards and one sweep backwards serve all jobs of a video; each
direction starts from the key frame alone. A frame is encoded once and segmented for all jobs under way; a job joins the
sweep at its key frame. Jobs of one key frame remember the same images, so that they share one memory.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from program_kit.errors import InputError
from program_kit.frame_reading import FeatureCache, FrameReader
from program_kit.options import Precision
from program_kit.propagation import Frames, Job
from program_kit.torch.memory import check_objects
from program_kit.torch.precision import set_precision
from torch import Tensor

from cutie.competition import compete
from cutie.config import STRIDE
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
    """One frame of one job; a `program_kit.propagation.PropagatedFrame`.

    Attributes:
        job: index of the job.
        frame: index of the frame; the key frame itself is never segmented.
        ids: the job's object ids; their numbers are 1, 2, ... in this order.
        numbers: uint8 [H, W], the number of the object that each pixel belongs to (0: background).
        probabilities: float32 [n + 1, H, W] on the network's device, background first.
    """

    job: int
    frame: int
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
    """A job: its index, its object ids in ascending order, and the pixels of each, bool [n, h, w] at network size."""

    job: int
    ids: tuple[int, ...]
    given: Tensor


@dataclass
class _State:
    """What is known of the objects of one key frame at some point of a sweep.

    Attributes:
        memory: of frames.
        summary: of objects.
        sensory: float32 [N, C, h, w].
        masks: of the frame before, float32 [N, h, w] at network size.
        since: frames since one was remembered.
    """

    memory: Memory
    summary: ObjectSummary
    sensory: Tensor
    masks: Tensor
    since: int = 0


@dataclass
class _Group:
    """Tasks with one key frame: one batch, one memory. Both sweeps begin with `start`, the state after that frame."""

    key_frame: int
    tasks: Sequence[_Task]
    start: _State | None = None
    state: _State | None = None

    @property
    def counts(self) -> list[int]:
        """Objects of each task."""
        return [len(task.ids) for task in self.tasks]


class _EncodedFrames:
    """Features of the frames of a video; those that are needed again are kept where the budget allows."""

    def __init__(self, video: Frames, cache_bytes: int, encode: Callable[[NDArray[np.uint8]], FrameFeatures]):
        self._reader = FrameReader(video)
        self._cache: FeatureCache[FrameFeatures] = FeatureCache(cache_bytes)
        self._encode = encode

    def get(self, frame: int, *, is_needed_again: bool) -> FrameFeatures:
        """The features of a frame."""
        features = self._cache.get(frame, lambda: self._encode(self._reader.read(frame)))
        if not is_needed_again:
            self._cache.drop(frame)
        return features


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

    def check_memory(self, size: tuple[int, int], objects: Sequence[int]) -> None:
        """Check that there is memory for objects, before work begins.

        Args:
            size: (H, W) of the video.
            objects: how many each job has.

        Raises:
            InputError: there is not; says how many fit.
        """
        together = max([min(self.batch, sum(objects)), *objects])
        pixels = math.prod(NetworkView(size, self.settings.short_side).padded)
        tokens = pixels // STRIDE**2
        token, held = 4 * self.network.config.dim, self.settings.memory.most_tokens(tokens) + WORK * tokens
        check_objects(
            self.device,
            together,
            each=token * held + 4 * MASKS * pixels,
            shared=min(together, CHUNK) * DECODING * token * tokens,
            remedy="give a smaller --batch or --size, or masks of fewer objects",
        )

    def propagate(self, video: Frames, jobs: Sequence[Job]) -> Iterator[SegmentedFrame]:
        """Segment every frame but the key frame for every job, in an order that suits the work.

        Args:
            video: its frames are read when needed, each once for as long as the feature cache holds.
            jobs: any key frames, any objects.

        Raises:
            InputError: a job does not fit the video; raised before any work is done.
        """
        view = NetworkView(video.size, self.settings.short_side)
        tasks: dict[int, list[_Task]] = {}
        for index, job in enumerate(jobs):
            job.check(video)
            tasks.setdefault(job.key_frame, []).append(self._task(index, job, view))
        sweeps: list[tuple[list[_Group], range]] = []
        for groups in self._batches(tasks):
            keys = [group.key_frame for group in groups]
            both = range(min(keys), len(video)), range(max(keys), -1, -1)
            sweeps += [(groups, order) for order in both if len(order) > 1]
        frames = _EncodedFrames(video, self.cache_bytes, lambda frame: self._encode(frame, view))
        for number, (groups, order) in enumerate(sweeps):
            later = [other for _, other in sweeps[number + 1 :]]
            under_way: list[_Group] = []
            for frame in order:
                features = frames.get(frame, is_needed_again=any(frame in other for other in later))
                is_last = frame == order[-1]
                for group in under_way:
                    yield from self._segment(group, frame, features, view, is_last)
                if not is_last:
                    joining = [group for group in groups if group.key_frame == frame]
                    for group in joining:
                        self._join(group, features)
                    under_way += joining
            for group in groups:
                group.state = None

    def _task(self, index: int, job: Job, view: NetworkView) -> _Task:
        ids = tuple(job.object_ids)
        if len(ids) > MOST_OBJECTS:
            raise InputError(f"the mask has {len(ids)} objects, at most {MOST_OBJECTS} can be propagated together")
        numbers = np.searchsorted(np.array([0, *ids]), job.labels).astype(np.uint8)
        labels = view.labels(torch.from_numpy(numbers).to(self.device))
        return _Task(index, ids, labels == torch.arange(1, len(ids) + 1, device=self.device)[:, None, None])

    def _batches(self, tasks: dict[int, list[_Task]]) -> Iterator[list[_Group]]:
        """Fill batches with groups in the order of their key frames; a task is never divided."""
        groups: list[_Group] = []
        free = self.batch
        for key_frame in sorted(tasks):
            for task in tasks[key_frame]:
                if groups and len(task.ids) > free:
                    yield groups
                    groups, free = [], self.batch
                if groups and groups[-1].key_frame == key_frame:
                    groups[-1].tasks = [*groups[-1].tasks, task]
                else:
                    groups.append(_Group(key_frame, [task]))
                free -= len(task.ids)
        if groups:
            yield groups

    @torch.no_grad()
    def _encode(self, frame: NDArray[np.uint8], view: NetworkView) -> FrameFeatures:
        with self._products:
            return self.network.encode(view.image(frame, self.device))

    @torch.no_grad()
    def _join(self, group: _Group, features: FrameFeatures) -> None:
        """Begin a sweep at a group's key frame."""
        if group.start is None:
            given = compete(torch.cat([task.given for task in group.tasks]), group.counts)
            masks = torch.cat([own.softmax(dim=0)[1:] for own in given])
            sensory = self.network.empty_sensory(features, len(masks))
            with self._products:
                found = self.network.memorize(features, masks, sensory, group.counts)
            memory = Memory(self.settings.memory, features.keys, found.values)
            group.start = _State(memory, found.summary, found.sensory, masks)
        group.state = copy(group.start)
        group.state.memory = copy(group.start.memory)

    @torch.no_grad()
    def _segment(
        self, group: _Group, frame: int, features: FrameFeatures, view: NetworkView, is_last: bool
    ) -> list[SegmentedFrame]:
        """One frame for the tasks of a group: read the memory, segment, remember."""
        state = group.state
        assert state is not None  # the group has joined
        read = state.memory.read(features.keys, features.size)
        with self._products:
            found = self.network.segment(features, read, state.masks, state.sensory, state.summary, group.counts)
        state.masks = torch.cat([own[1:] for own in found.probabilities])
        state.sensory = found.sensory
        state.since += 1
        if state.since >= self.settings.memory.gap and not is_last:
            self._remember(group, state, features)
        return [
            self._segmented_frame(task, frame, view.restore(own))
            for task, own in zip(group.tasks, found.probabilities, strict=True)
        ]

    def _remember(self, group: _Group, state: _State, features: FrameFeatures) -> None:
        with self._products:
            found = self.network.memorize(features, state.masks, state.sensory, group.counts)
        state.memory.add(features.keys, found.values)
        state.summary = state.summary.plus(found.summary)
        state.sensory = found.sensory
        state.since = 0

    @staticmethod
    def _segmented_frame(task: _Task, frame: int, probabilities: Tensor) -> SegmentedFrame:
        numbers = probabilities.argmax(dim=0).to(torch.uint8).cpu().numpy()
        return SegmentedFrame(task.job, frame, task.ids, numbers, probabilities)
