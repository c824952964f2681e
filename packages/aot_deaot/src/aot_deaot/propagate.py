"""Carry key frames' masks both ways through a video.

The procedure is that of `networks/managers/bidirectional_evaluator.py` of the challenge code: from the key frame to the
end, then from the key frame to the start, every frame seen in several augmentations whose probabilities are averaged
before the label is fed back into the memories.

Work is ordered by frames, not by masks. One sweep forwards and one sweep backwards serve all jobs of a video: at each
frame the features are computed once, all jobs under way look at it together, and jobs whose key frame it is join in.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aot_deaot.attention import Entry, joined
from aot_deaot.config import NetworkConfig
from aot_deaot.errors import ConfigError, InputError
from aot_deaot.features import FeatureCache
from aot_deaot.memory import Memory, MemoryPolicy
from aot_deaot.network import FrameFeatures, PropagationNetwork, resize_logits
from aot_deaot.objects import ObjectTable
from aot_deaot.preprocess import (
    Augmentation,
    SizeLimits,
    augmentations,
    network_image,
    network_labels,
    network_size,
)

Precision = Literal["float32", "float16", "bfloat16"]
DEFAULT_CACHE = 4 * 2**30
SKIPPED = 16  # frames that are decoded and not needed, before a new pass over the video is begun


class Frames(Protocol):
    """A video: `mask_interchange.Video`, or anything with these."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of every frame."""
        ...

    def __len__(self) -> int: ...

    def read_frame(self, i: int) -> NDArray[np.uint8]:
        """Frame `i` as RGB uint8 [H, W, 3]."""
        ...

    def frames(self, start: int = 0) -> Iterator[NDArray[np.uint8]]:
        """Frames from `start` on in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a video is gone through; the defaults are the corrected procedure.

    Attributes:
        scales, flip: the augmentations.
        limits: of the unscaled network size.
        memory: which frames are remembered.
        active_ids: `objects` lets the job's objects and the background compete; `all` every id the network knows.
        feedback: the label that enters the memories is that of the `average` over the augmentations, or each
            augmentation's `own`.
        keep_memory: go on with the forward pass's memory when turning back at the key frame.
    """

    scales: tuple[float, ...] = (0.8, 1.0, 1.2)
    flip: bool = True
    limits: SizeLimits = field(default_factory=SizeLimits)
    memory: MemoryPolicy
    active_ids: Literal["objects", "all"] = "objects"
    feedback: Literal["average", "own"] = "average"
    keep_memory: bool = False

    def __post_init__(self):
        augmentations(self.scales, self.flip)
        for name, choices in (("active_ids", ("objects", "all")), ("feedback", ("average", "own"))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} is one of {', '.join(choices)}, not {getattr(self, name)!r}")


def corrected(config: NetworkConfig) -> Settings:
    """The default: each direction starts from the key frame alone, and only the given objects compete."""
    return Settings(limits=SizeLimits.of(config), memory=MemoryPolicy(long_term_gap=config.long_term_gap))


def faithful(config: NetworkConfig) -> Settings:
    """What the challenge's runner did, faults included.

    The memory of the forward pass stays in during the backward pass. AOT's runner lets all ids compete and sets the
    time of the last memory entry to 0 at the second key frame. DeAOT's runner was never published: this is AOT's, with
    the two changes that the DeAOT engine of that time implies.
    """
    settings = replace(corrected(config), keep_memory=True)
    if config.family == "aot":
        return replace(settings, active_ids="all", memory=replace(settings.memory, restart_clock=True))
    return settings


@dataclass(frozen=True, eq=False)
class Job:
    """Masks of one frame that are to be carried through the video.

    Attributes:
        key_frame: index of the frame.
        labels: integer [H, W], object ids of the frame, 0 is background; at least one object.
    """

    key_frame: int
    labels: NDArray[np.integer]

    @property
    def identity(self) -> Hashable:
        """Equal for jobs with equal results."""
        return self.key_frame, self.labels.astype(np.int64).tobytes()


@dataclass(frozen=True, slots=True)
class Segmented:
    """One frame of one job.

    Attributes:
        jobs: indices of the jobs that have this result: several when they are equal.
        frame: index of the frame; the key frame itself is never segmented.
        objects: the job's ids and their numbers.
        numbers: uint8 [H, W], the number of the object that each pixel belongs to (0: background). With
            `active_ids="all"` numbers above `len(objects)` occur: pixels won by an id that no object has.
        probabilities: float32 [n + 1, H, W] on the network's device, mean over the augmentations.
    """

    jobs: tuple[int, ...]
    frame: int
    objects: ObjectTable
    numbers: NDArray[np.uint8]
    probabilities: Tensor


def distinct(jobs: Sequence[Job]) -> dict[Hashable, list[int]]:
    """Indices of equal jobs, by what makes them equal."""
    found: dict[Hashable, list[int]] = {}
    for index, job in enumerate(jobs):
        found.setdefault(job.identity, []).append(index)
    return found


@dataclass(frozen=True)
class _Task:
    """A distinct job under way: the jobs it stands for, its objects, and the key frame's numbers [H, W]."""

    jobs: tuple[int, ...]
    objects: ObjectTable
    numbers: Tensor


@dataclass
class _Group:
    """Tasks with one key frame. They remember the same frames, so they are one batch with one memory per view."""

    key_frame: int
    tasks: Sequence[_Task]
    references: list[list[Entry]] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)

    @property
    def sets(self) -> int:
        """Object sets of all tasks, the length of the batch."""
        return sum(task.objects.sets for task in self.tasks)


class Propagator:
    """Runs jobs on a network.

    Args:
        network: in evaluation mode, on the device to be used.
        settings: see `corrected` and `faithful`.
        cache_bytes: budget for features of frames.
        batch: most object sets that go through a video together; bounds the memory for their states.
        precision: `float16` and `bfloat16` run the network under autocast.
        compiled: run `encode` and `recall`, where the time goes, through `torch.compile`.
    """

    def __init__(
        self,
        network: PropagationNetwork,
        settings: Settings,
        *,
        cache_bytes: int = DEFAULT_CACHE,
        batch: int = 4,
        precision: Precision = "float32",
        compiled: bool = False,
    ):
        if batch < 1:
            raise ConfigError(f"batch is at least 1 object set, not {batch}")
        self.network = network
        self.settings = settings
        self.batch = batch
        self.cache_bytes = cache_bytes
        self.device = next(network.parameters()).device
        self._autocast = torch.autocast(
            self.device.type, getattr(torch, precision) if precision != "float32" else None, precision != "float32"
        )
        self._encode, self._recall = network.encode, network.recall
        if compiled:
            self._encode, self._recall = torch.compile(network.encode), torch.compile(network.recall)

    def propagate(self, video: Frames, jobs: Sequence[Job]) -> Iterator[Segmented]:
        """Segment every frame but the key frame for every job, in an order that suits the work.

        Args:
            video: its frames are read when needed, each once for as long as the feature cache holds.
            jobs: any key frames, any objects; equal ones are run once.

        Raises:
            InputError: a job does not fit the video; raised before any work is done.
        """
        tasks: dict[int, list[_Task]] = {}
        for indices in distinct(jobs).values():
            tasks.setdefault(jobs[indices[0]].key_frame, []).append(self._task(jobs, indices, video))
        seen = _Viewer(video, self.settings, self.network.config, self.cache_bytes, self._encode_image)
        for groups in self._batches(tasks):
            keys = [group.key_frame for group in groups]
            yield from self._sweep(groups, seen, range(min(keys), len(video)))
            yield from self._sweep(groups, seen, range(max(keys), -1, -1))

    def _task(self, jobs: Sequence[Job], indices: Sequence[int], video: Frames) -> _Task:
        job = jobs[indices[0]]
        if not 0 <= job.key_frame < len(video):
            raise InputError(f"key frame {job.key_frame} is not in the video, which has frames 0 to {len(video) - 1}")
        if job.labels.shape != tuple(video.size):
            raise InputError(
                f"the mask of key frame {job.key_frame} is {_pixels(job.labels.shape)}, "
                f"the video's frames are {_pixels(video.size)} (height x width)"
            )
        objects = ObjectTable.of(job.labels, self.network.config.max_objects)
        if not len(objects):
            raise InputError(f"the mask of key frame {job.key_frame} is empty: there is nothing to propagate")
        return _Task(tuple(indices), objects, torch.from_numpy(objects.number(job.labels)).to(self.device))

    def _batches(self, tasks: dict[int, list[_Task]]) -> Iterator[list[_Group]]:
        """Groups that together fill the batch, neighbours in time in one; a task is never divided."""
        groups: list[_Group] = []
        free = self.batch
        for key_frame in sorted(tasks):
            for task in tasks[key_frame]:
                if groups and task.objects.sets > free:
                    yield groups
                    groups, free = [], self.batch
                if groups and groups[-1].key_frame == key_frame:
                    groups[-1].tasks = [*groups[-1].tasks, task]
                else:
                    groups.append(_Group(key_frame, [task]))
                free -= task.objects.sets
        if groups:
            yield groups

    @torch.no_grad()
    def _encode_image(self, image: Tensor) -> FrameFeatures:
        with self._autocast:
            return self._encode(image.to(self.device))

    def _sweep(self, groups: Sequence[_Group], seen: "_Viewer", order: range) -> Iterator[Segmented]:
        """One direction: groups join at their key frames and are segmented on every later frame."""
        under_way: list[_Group] = []
        for frame in order:
            joining = [group for group in groups if group.key_frame == frame != order[-1]]
            features = seen.frame(frame)
            if under_way:
                yield from self._segment(under_way, frame, seen, features)
            for group in joining:
                self._join(group, seen, features)
            under_way += joining
        if not self.settings.keep_memory:
            for group in groups:
                group.memories = []

    @torch.no_grad()
    def _join(self, group: _Group, seen: "_Viewer", features: Callable[[int], FrameFeatures]) -> None:
        """Give a group its key frame as reference, kept for the other direction: it looks the same from there."""
        if not group.references:
            labels = torch.cat([task.objects.split(task.numbers) for task in group.tasks])
            for view in range(len(seen.views)):
                with self._autocast:
                    identity = self.network.embed(seen.labels(labels, view))
                    group.references.append(self.network.refer(features(view), identity).entries)
        group.memories = group.memories or [Memory(self.settings.memory) for _ in seen.views]
        for memory, entries in zip(group.memories, group.references, strict=True):
            memory.add_reference(entries)

    @torch.no_grad()
    def _segment(
        self, groups: Sequence[_Group], frame: int, seen: "_Viewer", features: Callable[[int], FrameFeatures]
    ) -> list[Segmented]:
        """One frame for all groups: recall in every view, average, label, remember."""
        tasks = [task for group in groups for task in group.tasks]
        average: list[Tensor] = []
        observations, own_labels = [], []
        for view in range(len(seen.views)):
            with self._autocast:
                recalled = self._recall(features(view), _long(groups, view), _short(groups, view))
            observations.append(recalled.observations)
            probabilities = self._probabilities(recalled.logits, tasks, seen, view)
            own_labels.append([_winners(p) for p in probabilities] if self.settings.feedback == "own" else [])
            shares = [p / len(seen.views) for p in probabilities]
            average = [a.add_(s) for a, s in zip(average, shares, strict=True)] if average else shares
        labels = [_winners(p) for p in average]
        for view in range(len(seen.views)):
            fed_back = own_labels[view] or labels
            slots = torch.cat([task.objects.split(label) for task, label in zip(tasks, fed_back, strict=True)])
            with self._autocast:
                identity = self.network.embed(seen.labels(slots, view))
                entries = self.network.store(observations[view], identity)
            self._remember(groups, view, entries)
        return [
            Segmented(task.jobs, frame, task.objects, label.cpu().numpy(), probabilities)
            for task, label, probabilities in zip(tasks, labels, average, strict=True)
        ]

    def _probabilities(self, logits: Tensor, tasks: Sequence[_Task], seen: "_Viewer", view: int) -> list[Tensor]:
        """Float32 [n + 1, H, W] for every task, at video size and not mirrored."""
        all_slots = self.settings.active_ids == "all"
        found = []
        for task, own in zip(tasks, logits.split([task.objects.sets for task in tasks]), strict=True):
            if not all_slots:
                own = own[:, : task.objects.held(0) + 1]
            own = resize_logits(own, seen.video.size, self.network.config.align_corners)
            if seen.views[view].mirrored:
                own = own.flip(-1)
            found.append(task.objects.merge(own, all_slots=all_slots).softmax(dim=0))
        return found

    def _remember(self, groups: Sequence[_Group], view: int, entries: Sequence[Entry]) -> None:
        """Share out the batch's entries; what depends on the image alone goes to every group as it is."""
        start = 0
        for group in groups:
            stop = start + group.sets
            own = [tuple(t if t.shape[0] == 1 else t[start:stop] for t in entry) for entry in entries]
            group.memories[view].add_frame(own)
            start = stop


class _Viewer:
    """One video as the network sees it: every frame in every augmentation, features from the cache where possible."""

    def __init__(
        self,
        video: Frames,
        settings: Settings,
        config: NetworkConfig,
        cache_bytes: int,
        encode: Callable[[Tensor], FrameFeatures],
    ):
        self.video = video
        self.views: tuple[Augmentation, ...] = augmentations(settings.scales, settings.flip)
        self.sizes = [network_size(video.size, v.scale, settings.limits, config.align_corners) for v in self.views]
        self.cache = FeatureCache(cache_bytes)
        self._encode = encode
        self._pass: Iterator[NDArray[np.uint8]] = iter(())
        self._next = len(video)  # frame that the pass gives next
        self._last = -1  # frame that was read last

    def frame(self, index: int) -> Callable[[int], FrameFeatures]:
        """A function from a view's number to the frame's features; the frame is read once, if any view is missing."""
        read: list[NDArray[np.uint8]] = []

        def compute(view: int) -> FrameFeatures:
            if not read:
                read.append(self._read(index))
            image = network_image(read[0], self.sizes[view])
            return self._encode(image.flip(-1) if self.views[view].mirrored else image)

        return lambda view: self.cache.get((index, view), lambda: compute(view))

    def _read(self, index: int) -> NDArray[np.uint8]:
        """A frame. Going forwards, frames come from one pass over the video, because files are made for that."""
        forwards, self._last = index == self._last + 1, index
        if not self._next <= index <= self._next + SKIPPED:
            if not forwards:
                return self.video.read_frame(index)
            self._next, self._pass = index, self.video.frames(index)
        image = next(islice(self._pass, index - self._next, None), None)
        self._next = index + 1
        if image is None:
            raise InputError(f"the video has {len(self.video)} frames by its own count, but ends before frame {index}")
        return image

    def labels(self, labels: Tensor, view: int) -> Tensor:
        """Id maps [B, H, W] as a view sees them, [B, h, w]."""
        return network_labels(labels, self.sizes[view], self.views[view].mirrored)


def _long(groups: Sequence[_Group], view: int) -> list[list[Entry]]:
    """For every layer, the long-term memories of all groups."""
    return [list(layer) for layer in zip(*(group.memories[view].long for group in groups), strict=True)]


def _short(groups: Sequence[_Group], view: int) -> list[Entry]:
    """For every layer, the short-term memories of all groups as one batch."""
    sets = [group.sets for group in groups]
    layers = zip(*(group.memories[view].short for group in groups), strict=True)
    return [tuple(joined(parts, sets) for parts in zip(*layer, strict=True)) for layer in layers]


def _winners(probabilities: Tensor) -> Tensor:
    """Number with the largest probability [H, W] of [n + 1, H, W], the lowest of equals.

    The same as argmax over the first axis, which is many times slower on a CPU.
    """
    best, numbers = probabilities[0], torch.zeros_like(probabilities[0], dtype=torch.uint8)
    for number, own in enumerate(probabilities[1:], start=1):
        numbers = torch.where(own > best, number, numbers)
        best = torch.maximum(best, own)
    return numbers


def _pixels(size: Sequence[int]) -> str:
    return " x ".join(str(side) for side in size)
