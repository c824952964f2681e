"""Carry the masks of key frames both ways through a video.

Work is ordered by frames, not by masks: one sweep forwards and one sweep backwards serve all jobs of a video. A frame
is encoded once for all of them. Jobs with references of the same frames share a session, which joins the sweep at the
first of them. Both sweeps begin from the given masks alone, all of them: also those ahead condition what is found.
"""

from collections.abc import Callable, Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from program_kit.options import Precision
from program_kit.prepared_frames import NextVideo
from program_kit.prompts import Prompt
from program_kit.propagator import Frames, Job
from program_kit.torch.memory import check_objects
from program_kit.torch.precision import set_precision
from program_kit.torch.transfer import Download, arrived, to_device
from torch import Tensor
from torch.nn import functional
from transformers import Sam2VideoModel

from grounded_sam2.tracking import (
    OBJECTS_AT_ONCE,
    FrameEncoder,
    FrameFeatures,
    Session,
    Tracker,
    build_processor,
    object_bytes,
    session_bytes,
)

DEFAULT_CACHE = 2**30


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFrame:
    """One frame of one job; a `program_kit.propagator.PropagatedFrame`.

    Attributes:
        job: index of the job.
        frame: index of the frame.
        reference: the reference that it was carried from.
        size: (H, W) of the video.
        object_ids: of the job.
        masks: bool [n, H, W] of its objects.
        logits: float32 [n, h, w] of them, at stride 4 of the network's size and on its device.
        presences: [n] probability that each object is in the frame.
    """

    job: int
    frame: int
    reference: int
    size: tuple[int, int]
    object_ids: Sequence[int]
    masks: NDArray[np.bool_]
    logits: Tensor
    presences: Sequence[float]

    def mask(self, object_id: int | None = None) -> NDArray[np.bool_]:
        """Pixels [H, W] of an object; objects may overlap. For None, of any object."""
        return np.logical_or.reduce(self.masks) if object_id is None else self.masks[self.object_ids.index(object_id)]

    def probability(self, object_id: int | None = None) -> NDArray[np.float32]:
        """Probability [H, W] of an object; for None, of the likeliest one at each pixel."""
        if object_id is not None:
            return self._probability(self.object_ids.index(object_id))
        found = self._probability(0)
        for place in range(1, len(self.logits)):
            np.maximum(found, self._probability(place), out=found)
        return found

    def presence(self, object_id: int | None = None) -> float:
        """Probability that an object is in the frame; for None, that of the likeliest one."""
        return max(self.presences) if object_id is None else self.presences[self.object_ids.index(object_id)]

    def _probability(self, place: int) -> NDArray[np.float32]:
        return full_size(self.logits[place], self.size).sigmoid().cpu().numpy()


class _Segmented(NamedTuple):
    """A frame of the jobs of a group.

    Attributes:
        frame: its index.
        reference: the last one that the sweep has passed.
        size: (H, W) of the video.
        jobs: the objects of each job, by its index.
        logits: float32 [N, h, w] of all objects, on the network's device.
        presences: float32 [N], there as well.
    """

    frame: int
    reference: int
    size: tuple[int, int]
    jobs: Mapping[int, list[int]]
    logits: Tensor
    presences: Tensor

    def download(self) -> Download:
        """Masks bool [N, H, W] and presences, on their way to the processor."""
        masks = torch.stack([full_size(own, self.size) > 0 for own in self.logits])
        return Download([masks, self.presences])

    def of_jobs(self, masks: NDArray[np.bool_], presences: NDArray[np.float32]) -> Iterator[TrackedFrame]:
        """What the caller gets, once these are there."""
        start = 0
        for job, ids in self.jobs.items():
            own = slice(start, start + len(ids))
            yield TrackedFrame(
                job, self.frame, self.reference, self.size, ids, masks[own], self.logits[own], presences[own].tolist()
            )
            start += len(ids)


def full_size(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask logits [h, w] of the network at the size [H, W] of the video, as the library has them."""
    return functional.interpolate(logits[None, None], size, mode="bilinear", align_corners=False)[0, 0]


@dataclass(slots=True)
class _Group:
    """Jobs with references of the same frames.

    Attributes:
        masks: of all objects, by the frame of the reference; empty once the tracker has them.
        jobs: the objects of each job, by its index.
        tracker: once the jobs are under way.
        passed: the reference that the sweep has passed last; -1 before the first.
    """

    masks: dict[int, list[NDArray[np.bool_]]]
    jobs: dict[int, list[int]] = field(default_factory=dict)
    tracker: Tracker | None = None
    passed: int = -1

    @property
    def frames(self) -> KeysView[int]:
        """Of the references."""
        return self.masks.keys()

    def go_on_from(self, encoder: FrameEncoder, frame: int, features: FrameFeatures, *, reverse: bool) -> None:
        """Be ready to step on from a reference, whose features these are."""
        if self.tracker is None:
            device = encoder.network.device
            given = {
                i: [to_device(torch.from_numpy(mask), device) for mask in masks] for i, masks in self.masks.items()
            }
            self.tracker = Tracker(
                encoder, given, lambda i: features if i == frame else encoder.features(i), reverse=reverse
            )
            for masks in self.masks.values():
                masks.clear()  # the tracker has its own
        self.passed = frame


class Propagator:
    """Finds masks with one network, and carries them.

    Args:
        network: on its device, in evaluation mode.
        precision: set on `network`, see `program_kit.torch.precision`.
        cache_bytes: budget for features of frames. Frames between two key frames are passed in both directions, and
            encoded again the second time if they are not in the cache.
    """

    def __init__(self, network: Sam2VideoModel, *, precision: Precision = "strict", cache_bytes: int = DEFAULT_CACHE):
        self.network = network
        self._products = set_precision(network, precision)
        self._cache_bytes = cache_bytes
        self._processor = build_processor(network)
        self._next = NextVideo(self.encoder)

    def encoder(self, video: Frames) -> FrameEncoder:
        """The frames of a video as the network sees them."""
        return FrameEncoder(self.network, self._processor, video, self._products, self._cache_bytes)

    def check_memory(self, size: tuple[int, int], objects: Sequence[int], references: int = 1) -> None:
        """As `program_kit.propagator.LimitedPropagator.check_memory`."""
        check_objects(
            self.network.device,
            sum(objects),
            each=object_bytes(self.network, size, references),
            shared=session_bytes(self.network, sum(objects)),
            remedy="give fewer of them, or one run after the other",
        )

    def segment(self, encoder: FrameEncoder, frame: int, prompts: Sequence[Prompt]) -> list[TrackedFrame]:
        """Find what prompts point at in one frame, which may be their key frame.

        Returns:
            One result for each prompt; its job is the prompt's place.
        """
        found: list[TrackedFrame] = []
        for start in range(0, len(prompts), OBJECTS_AT_ONCE):
            some = prompts[start : start + OBJECTS_AT_ONCE]
            jobs = {start + place: [1] for place in range(len(some))}
            segmented = _Segmented(frame, frame, encoder.video.size, jobs, *self._segment(encoder, frame, some))
            found += segmented.of_jobs(*segmented.download().arrays())
        return found

    def _segment(self, encoder: FrameEncoder, frame: int, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        session = Session(encoder)
        for place, prompt in enumerate(prompts):
            self._processor.process_new_points_or_boxes_for_video_frame(
                session,
                frame,
                [place],
                input_points=[[[list(point) for point in prompt.points]]] if prompt.points else None,
                input_labels=[[list(prompt.labels)]] if prompt.points else None,
                input_boxes=[[list(prompt.box)]] if prompt.box else None,
            )
        session.obj_with_new_inputs = list(range(len(prompts)))
        return session.step(frame, encoder.features(frame), remember=False)

    def prompted_masks(self, video: Frames, prompts: Sequence[Prompt]) -> list[NDArray[np.bool_]]:
        """The mask [H, W] of each prompt in its frame; empty where the network finds nothing."""
        encoder = self.encoder(video)
        masks: dict[int, NDArray[np.bool_]] = {}
        for frame in sorted({prompt.frame for prompt in prompts}):
            places = [place for place, prompt in enumerate(prompts) if prompt.frame == frame]
            found = self.segment(encoder, frame, [prompts[place] for place in places])
            masks.update(zip(places, (result.mask() for result in found), strict=True))
            encoder.cache.drop(frame)
        return [masks[place] for place in range(len(prompts))]

    def expect(self, begin: Callable[[], tuple[Frames, int]]) -> None:
        """As `program_kit.propagator.ExpectingPropagator.expect`."""
        self._next.expect(begin)

    def propagate(self, video: Frames, jobs: Sequence[Job]) -> Iterator[TrackedFrame]:
        """Find the objects of every job in every frame but its references.

        Args:
            video: its frames are read one by one.
            jobs: any references, any objects.

        Yields:
            What a job finds: first onwards from its first reference, then back from its last.

        Raises:
            InputError: a job does not fit the video.
        """
        for job in jobs:
            job.check(video)
        yield from self.carry(self._next.reader(video), jobs)

    def carry(self, encoder: FrameEncoder, jobs: Sequence[Job]) -> Iterator[TrackedFrame]:
        """As `propagate`, with frames that may be encoded already."""
        if jobs:
            found = self._sweeps(encoder, _groups(jobs))
            for segmented, (masks, presences) in arrived((one, one.download()) for one in found):
                yield from segmented.of_jobs(masks, presences)

    @staticmethod
    def _sweeps(encoder: FrameEncoder, groups: Sequence[_Group]) -> Iterator[_Segmented]:
        """Both directions: groups join at their first references."""
        keys = [frame for group in groups for frame in group.frames]
        for reverse, order in ((False, range(min(keys), len(encoder.video))), (True, range(max(keys), -1, -1))):
            if len(order) == 1:
                continue
            for group in groups:
                group.passed = -1
                if group.tracker is not None:
                    group.tracker.turn_round()
            for place, frame in enumerate(order, start=1):
                features = encoder.features(frame, order[place:])
                for group in groups:
                    if group.passed >= 0 and frame not in group.frames:
                        assert group.tracker is not None  # it has passed a reference
                        found = group.tracker.step(frame, features)
                        yield _Segmented(frame, group.passed, encoder.video.size, group.jobs, *found)
                for group in groups:
                    if frame in group.frames and frame != order[-1]:
                        group.go_on_from(encoder, frame, features, reverse=reverse)
                if not min(keys) <= frame <= max(keys):
                    encoder.cache.drop(frame)  # no sweep comes by again


def _groups(jobs: Sequence[Job]) -> list[_Group]:
    groups: dict[tuple[int, ...], _Group] = {}
    for index, job in enumerate(jobs):
        references = job.references
        group = groups.setdefault(tuple(references), _Group({frame: [] for frame in references}))
        group.jobs[index] = job.object_ids
        for frame, labels in references.items():
            group.masks[frame].extend(labels == object_id for object_id in group.jobs[index])
    return list(groups.values())
