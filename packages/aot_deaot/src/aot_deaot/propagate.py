"""Carry the masks of key frames both ways through a video.

The procedure is that of `networks/managers/bidirectional_evaluator.py` of the challenge code: it goes from the key
frame to the end, then from the key frame to the start. Every frame is segmented in several augmentations; their average
gives the label that enters the memories. A job of several references goes forwards from the first and backwards from
the last, and remembers each as it passes: the networks were trained with memories of earlier frames only, and are led
astray by references ahead that look otherwise.

Work is ordered by frames, not by masks. One sweep forwards and one sweep backwards serve all jobs of a video. Each
frame is encoded once and segmented for all jobs under way together; a job joins the sweep at its first reference.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from program_kit.options import Precision
from program_kit.prepared_frames import NextVideo
from program_kit.propagator import Frames, Job
from program_kit.torch.memory import rows_at_once
from program_kit.torch.precision import set_precision
from program_kit.torch.transfer import Download, arrived, to_device
from torch import Tensor

from aot_deaot.attention import Entry, joined
from aot_deaot.errors import ConfigError
from aot_deaot.frame_views import FrameViews
from aot_deaot.memory import Memory
from aot_deaot.network import FrameFeatures, PropagationNetwork, resize_logits
from aot_deaot.objects import ObjectTable
from aot_deaot.settings import DEFAULT_CACHE, PropagationSettings

FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class SegmentedFrame:
    """One frame of one job; a `program_kit.propagator.PropagatedFrame`.

    Attributes:
        job: index of the job.
        frame: index of the frame; a reference is never segmented.
        reference: the reference that it was carried from.
        objects: the job's ids and their numbers.
        numbers: uint8 [H, W], the number of the object that each pixel belongs to (0: background). With
            `active_ids="all"` numbers above `len(objects)` occur: pixels won by an id that no object has.
        probabilities: float32 [n + 1, H, W] on the network's device, mean over the augmentations.
    """

    job: int
    frame: int
    reference: int
    objects: ObjectTable
    numbers: NDArray[np.uint8]
    probabilities: Tensor

    def mask(self, object_id: int | None = None) -> NDArray[np.bool_]:
        """Pixels [H, W] of an object; for None all but background, as published also those of stray ids."""
        return self.numbers > 0 if object_id is None else self.numbers == self.objects.number_of(object_id)

    def probability(self, object_id: int | None = None) -> NDArray[np.float32]:
        """Probability [H, W] of an object; for None, of any object or stray id."""
        if object_id is None:
            return 1 - self.probabilities[0].cpu().numpy()
        return self.probabilities[self.objects.number_of(object_id)].cpu().numpy()

    def presence(self, object_id: int | None = None) -> None:
        """The network does not tell whether an object is there."""


@dataclass(frozen=True)
class _Task:
    """A job under way: its index, its objects, and their numbers [H, W] in each reference."""

    job: int
    objects: ObjectTable
    numbers: Mapping[int, Tensor]


@dataclass
class _Group:
    """Tasks whose references are of the same frames. They are one batch with one memory per view.

    Attributes:
        frames: of the references, ascending.
        tasks: of the batch.
        references: memory entries of each reference by its frame, per view.
        memories: per view.
        passed: the reference that the sweep has passed last; -1 before the first.
    """

    frames: tuple[int, ...]
    tasks: Sequence[_Task]
    references: dict[int, list[list[Entry]]] = field(default_factory=dict)
    memories: list[Memory] = field(default_factory=list)
    passed: int = -1

    @property
    def sets(self) -> int:
        """Object sets of all tasks, the length of the batch."""
        return sum(task.objects.sets for task in self.tasks)


@dataclass(frozen=True, slots=True)
class _Segmented:
    """A frame of all tasks under way.

    Attributes:
        frame: its index.
        tasks: of all groups.
        references: the last reference that each of them has passed.
        labels: uint8 [H, W] of each, on the network's device.
        probabilities: float32 [n + 1, H, W] of each, there as well.
    """

    frame: int
    tasks: Sequence[_Task]
    references: Sequence[int]
    labels: Sequence[Tensor]
    probabilities: Sequence[Tensor]

    def of_jobs(self, labels: Sequence[NDArray[np.uint8]]) -> Iterator[SegmentedFrame]:
        """What the caller gets, once the labels are on the processor."""
        of_tasks = zip(self.tasks, self.references, labels, self.probabilities, strict=True)
        for task, reference, numbers, probabilities in of_tasks:
            yield SegmentedFrame(task.job, self.frame, reference, task.objects, numbers, probabilities)


class Propagator:
    """Runs jobs on a network.

    Args:
        network: in evaluation mode, on the device to be used.
        settings: see `corrected` and `faithful`.
        cache_bytes: budget for features of frames.
        batch: most object sets that go through a video together; bounds the memory for their states.
        precision: set on `network`, see `program_kit.torch.precision`.
        compiled: run `encode` and `segment`, where the time goes, through `torch.compile`.
    """

    def __init__(
        self,
        network: PropagationNetwork,
        settings: PropagationSettings,
        *,
        cache_bytes: int = DEFAULT_CACHE,
        batch: int = 4,
        precision: Precision = "strict",
        compiled: bool = False,
    ):
        if batch < 1:
            raise ConfigError(f"batch is at least 1 object set, not {batch}")
        self.network = network
        self.settings = settings
        self.batch = batch
        self.cache_bytes = cache_bytes
        self.device = next(network.parameters()).device
        self._products = set_precision(network, precision)
        self._next = NextVideo(self._views)
        self._encode, self._segment_features = network.encode, network.segment
        if compiled:
            self._encode, self._segment_features = torch.compile(network.encode), torch.compile(network.segment)

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
        tasks: dict[tuple[int, ...], list[_Task]] = {}
        for index, job in enumerate(jobs):
            tasks.setdefault(tuple(job.references), []).append(self._task(index, job, video))
        views = self._next.reader(video)
        for groups in self._batches(tasks):
            keys = [frame for group in groups for frame in group.frames]
            for order in (range(min(keys), len(video)), range(max(keys), -1, -1)):
                segmented = self._sweep(groups, views, order)
                for found, labels in arrived((found, Download(found.labels)) for found in segmented):
                    yield from found.of_jobs(labels)

    def _views(self, video: Frames) -> FrameViews:
        return FrameViews(
            video, self.settings, self.network.config, self.cache_bytes, self._encode_images, self._frames_at_once
        )

    def _task(self, index: int, job: Job, video: Frames) -> _Task:
        job.check(video)
        objects = ObjectTable(tuple(job.object_ids), self.network.config.max_objects)
        numbers = {
            frame: torch.from_numpy(objects.number(labels)).to(self.device) for frame, labels in job.references.items()
        }
        return _Task(index, objects, numbers)

    def _batches(self, tasks: dict[tuple[int, ...], list[_Task]]) -> Iterator[list[_Group]]:
        """Fill batches with groups in the order of their references; a task is never divided."""
        groups: list[_Group] = []
        free = self.batch
        for frames in sorted(tasks):
            for task in tasks[frames]:
                if groups and task.objects.sets > free:
                    yield groups
                    groups, free = [], self.batch
                if groups and groups[-1].frames == frames:
                    groups[-1].tasks = [*groups[-1].tasks, task]
                else:
                    groups.append(_Group(frames, [task]))
                free -= task.objects.sets
        if groups:
            yield groups

    @torch.no_grad()
    def _encode_images(self, images: Tensor) -> FrameFeatures:
        with self._products:
            return self._encode(to_device(images, self.device))

    def _frames_at_once(self, size: tuple[int, int]) -> int:
        """How many frames to encode together: one on the CPU, where it gains nothing."""
        if self.device.type == "cpu":
            return 1
        views = 1 + self.settings.flip
        return rows_at_once(self.device, views * self.network.encoder.growth * math.prod(size) * FLOAT_BYTES)

    def _sweep(self, groups: Sequence[_Group], views: FrameViews, order: range) -> Iterator[_Segmented]:
        """One direction: groups join at their first references and are segmented on every later frame."""
        for frame, features in views.sweep(order):
            if under_way := [group for group in groups if group.passed >= 0 and frame not in group.frames]:
                yield self._segment(under_way, frame, views, features)
            if frame != order[-1]:
                for group in [group for group in groups if frame in group.frames]:
                    self._pass(group, frame, views, features)
        for group in groups:
            group.passed = -1
            if not self.settings.keep_memory:
                group.memories = []

    def _pass(self, group: _Group, frame: int, views: FrameViews, features: Callable[[int], FrameFeatures]) -> None:
        """Remember a reference of a group, and go on from it."""
        if frame not in group.references:
            group.references[frame] = self._memorized(group, frame, views, features)
        group.memories = group.memories or [Memory(self.settings.memory) for _ in views.all]
        for memory, entries in zip(group.memories, group.references[frame], strict=True):
            memory.add_reference(entries)
        group.passed = frame

    @torch.no_grad()
    def _memorized(
        self, group: _Group, reference: int, views: FrameViews, features: Callable[[int], FrameFeatures]
    ) -> list[list[Entry]]:
        """The memory entries of a reference, per view; they serve both directions."""
        labels = torch.cat([task.objects.split(task.numbers[reference]) for task in group.tasks])
        entries = []
        for view in range(len(views.all)):
            with self._products:
                identity = self.network.embed_ids(views.labels(labels, view))
                entries.append(self.network.memorize_reference(features(view), identity).entries)
        return entries

    @torch.no_grad()
    def _segment(
        self, groups: Sequence[_Group], frame: int, views: FrameViews, features: Callable[[int], FrameFeatures]
    ) -> _Segmented:
        """One frame for all groups: segment every view, average, label, memorize."""
        tasks = [task for group in groups for task in group.tasks]
        average: list[Tensor] = []
        layer_features, own_labels = [], []
        for view in range(len(views.all)):
            with self._products:
                segmented = self._segment_features(features(view), _long(groups, view), _short(groups, view))
            layer_features.append(segmented.layer_features)
            probabilities = self._probabilities(segmented.logits, tasks, views, view)
            own_labels.append([_winners(p) for p in probabilities] if self.settings.feedback == "own" else [])
            shares = [p / len(views.all) for p in probabilities]
            average = [a.add_(s) for a, s in zip(average, shares, strict=True)] if average else shares
        labels = [_winners(p) for p in average]
        for view in range(len(views.all)):
            fed_back = own_labels[view] or labels
            slots = torch.cat([task.objects.split(label) for task, label in zip(tasks, fed_back, strict=True)])
            with self._products:
                identity = self.network.embed_ids(views.labels(slots, view))
                entries = self.network.memorize(layer_features[view], identity)
            self._remember(groups, view, entries)
        passed = [group.passed for group in groups for _ in group.tasks]
        return _Segmented(frame, tasks, passed, labels, average)

    def _probabilities(self, logits: Tensor, tasks: Sequence[_Task], views: FrameViews, view: int) -> list[Tensor]:
        """Float32 [n + 1, H, W] for every task, at video size and not mirrored."""
        all_slots = self.settings.active_ids == "all"
        found = []
        for task, own in zip(tasks, logits.split([task.objects.sets for task in tasks]), strict=True):
            if not all_slots:
                own = own[:, : task.objects.held(0) + 1]
            own = resize_logits(own, views.video.size, self.network.config.align_corners)
            if views.all[view].mirrored:
                own = own.flip(-1)
            found.append(task.objects.merge(own, all_slots=all_slots).softmax(dim=0))
        return found

    def _remember(self, groups: Sequence[_Group], view: int, entries: Sequence[Entry]) -> None:
        """Give every group its part of the batch's entries; what depends on the image alone is shared by all."""
        start = 0
        for group in groups:
            stop = start + group.sets
            own = [tuple(t if t.shape[0] == 1 else t[start:stop] for t in entry) for entry in entries]
            group.memories[view].add_frame(own)
            start = stop


def _long(groups: Sequence[_Group], view: int) -> list[list[Entry]]:
    """For every layer, the long-term memories of all groups."""
    return [list(layer) for layer in zip(*(group.memories[view].long for group in groups), strict=True)]


def _short(groups: Sequence[_Group], view: int) -> list[Entry]:
    """For every layer, the short-term memories of all groups as one batch."""
    sets = [group.sets for group in groups]
    layers = zip(*(group.memories[view].short for group in groups), strict=True)
    return [tuple(joined(parts, sets) for parts in zip(*layer, strict=True)) for layer in layers]


def _winners(probabilities: Tensor) -> Tensor:
    """The number with the largest probability [H, W] of [n + 1, H, W]; of equal ones the lowest.

    Equals argmax over the first axis, which is many times slower on a CPU.
    """
    best, numbers = probabilities[0], torch.zeros_like(probabilities[0], dtype=torch.uint8)
    for number, own in enumerate(probabilities[1:], start=1):
        numbers = torch.where(own > best, number, numbers)
        best = torch.maximum(best, own)
    return numbers
