"""From weights and sentences to masks: a detector finds boxes, SAM 2 finds their masks.

from grounded_sam2 import GroundedSAM2Predictor
from mask_interchange import open_video

predictor = GroundedSAM2Predictor.load("weights")  # a folder that holds `detector` and `segmenter`
masks = predictor.predict(open_video("dog.mp4", ["the brown dog"]).videos["dog"])
masks.track("0").mask(7)  # bool [H, W]
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from mask_interchange.rle import decode_mask, empty_mask, encode_mask
from mask_interchange.track import Expression, MaskTrack, VideoMasks, soft_from_probabilities
from mask_interchange.video import Video
from numpy.typing import NDArray
from program_kit.options import Precision
from program_kit.progress import ProgressCallback
from program_kit.prompts import Prompt
from program_kit.propagator import Job
from program_kit.python_arguments import as_expressions, check_video
from program_kit.torch.device import choose_device
from program_kit.weights import TakesWeights, WeightsChoice, choose_network
from torch.nn import Module

from grounded_sam2.box_path import best_path
from grounded_sam2.checkpoint import GROUNDING_DINO_CHECKPOINTS, SAM2_CHECKPOINTS, load_tokenizer
from grounded_sam2.config import GROUNDED, GROUNDING_DINO, NETWORKS
from grounded_sam2.grounding import Candidates, Detector
from grounded_sam2.propagate import DEFAULT_CACHE, Propagator, TrackedFrame
from grounded_sam2.tracking import FrameEncoder


@dataclass(slots=True)
class _GrowingTrack:
    """One sentence's boxes and scores, and its masks while they come in.

    Attributes:
        expression: the sentence.
        boxes: float32 [T, 4] corners in pixels.
        scores: float32 [T] of the boxes.
        soft_masks: longer side in pixels of the probabilities to keep; None for none.
        masks: encoded, by frame; frames without one are empty.
        soft: uint8 [h, w] by frame.
    """

    expression: Expression
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    soft_masks: int | None
    masks: dict[int, bytes] = field(default_factory=dict)
    soft: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    @property
    def key_frame(self) -> int:
        """The first of the best frames."""
        return int(self.scores.argmax())

    def prompt(self, frame: int) -> Prompt:
        """The box of a frame."""
        left, top, right, bottom = self.boxes[frame].tolist()
        return Prompt(box=(left, top, right, bottom))

    def add(self, found: TrackedFrame) -> None:
        self.masks[found.frame] = encode_mask(found.mask())
        if self.soft_masks is not None:
            self.soft[found.frame] = soft_from_probabilities([found.probability()], self.soft_masks)[0]

    def build(self, size: tuple[int, int]) -> MaskTrack:
        frames = range(len(self.scores))
        soft = None
        if self.soft_masks is not None:
            faint = soft_from_probabilities([np.zeros(size, np.float32)], self.soft_masks)[0]
            soft = np.stack(list({**dict.fromkeys(frames, faint), **self.soft}.values()))
        return MaskTrack(
            expression=self.expression,
            size=size,
            masks=tuple(self.masks.get(frame, empty_mask(size)) for frame in frames),
            scores=self.scores,
            key_frame=self.key_frame,
            soft=soft,
        )


def load_networks(
    config: str, weights: WeightsChoice, *, device: str, precision: Precision, cache_bytes: int
) -> tuple[Detector, Propagator]:
    """Both networks of a configuration, with the weights that `choose_network` found."""
    place = choose_device(device)
    names, folders = GROUNDED[config], [weights.paths.get(network) for network in NETWORKS]
    network = GROUNDING_DINO_CHECKPOINTS.load(names[0], folders[0], weights.seed)
    segmenter = SAM2_CHECKPOINTS.load(names[1], folders[1], weights.seed)
    for loaded in (network, segmenter):
        Module.to(loaded, place)
    shape = GROUNDING_DINO[names[0]]
    detector = Detector(
        network,
        load_tokenizer(folders[0]),
        short_side=shape.short_side,
        long_side=shape.long_side,
        precision=precision,
    )
    return detector, Propagator(segmenter, precision=precision, cache_bytes=cache_bytes)


class GroundedSAM2Predictor:
    """Segments what sentences describe; begin with `load`.

    Args:
        detector: finds boxes of sentences.
        segmenter: finds masks of boxes, and carries them.
        per_frame: find the mask of each frame's own box, instead of carrying that of the best frame.
        threshold: a sentence whose best score is below has no masks; with `per_frame` also a frame below it.
        soft_masks: longer side in pixels of the probabilities to keep beside the masks; None for none.
        say: is told which sentences are left empty.
    """

    def __init__(
        self,
        detector: Detector,
        segmenter: Propagator,
        *,
        per_frame: bool = False,
        threshold: float = 0.0,
        soft_masks: int | None = None,
        say: Callable[[str], object] = lambda line: None,
    ):
        self.detector = detector
        self.segmenter = segmenter
        self.per_frame = per_frame
        self.threshold = threshold
        self.soft_masks = soft_masks
        self._say = say

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        seed: int | None = None,
        config: str | None = None,
        device: str = "auto",
        precision: Precision = "strict",
        cache_bytes: int = DEFAULT_CACHE,
        per_frame: bool = False,
        threshold: float = 0.0,
        soft_masks: int | None = None,
        say: Callable[[str], object] = lambda line: None,
    ) -> Self:
        """Load both networks.

        Args:
            checkpoint: folder that holds the published folders of both networks as `detector` and `segmenter`. Without,
                and without a seed, published weights in the user's folder (`uv run fusion-core weights fetch`).
            seed: of random weights instead, for trying things out.
            config: name of a configuration in `grounded_sam2.config.GROUNDED`; the first by default.
            device: `auto`, `cpu`, `cuda` or `cuda:<i>`.
            precision: as `program_kit.torch.precision` has it; what finds boxes stays in float32.
            cache_bytes: budget for features of frames.
            per_frame, threshold, soft_masks, say: as the class has them.

        Raises:
            WeightsError: no such configuration or folder, or no choice of weights.
            CheckpointError: a folder lacks a file, or it is damaged or not of its network.
            DeviceError: this machine does not have the device.
        """
        takes = TakesWeights(
            name="grounded-sam2-infer", configs=tuple(GROUNDED), checkpoint="folder", networks=NETWORKS
        )
        folder = None if checkpoint is None else Path(checkpoint)
        name, weights = choose_network(takes, config, folder, None if seed is None else f"random:{seed}")
        detector, segmenter = load_networks(name, weights, device=device, precision=precision, cache_bytes=cache_bytes)
        return cls(detector, segmenter, per_frame=per_frame, threshold=threshold, soft_masks=soft_masks, say=say)

    def predict(self, video: Video, progress: ProgressCallback = lambda done, total: None) -> VideoMasks:
        """Masks, scores and key frame of every expression of a video.

        Args:
            video: its frames are read twice: for boxes, then for masks.
            progress: called with the number of frames that are done, and of all, each counted twice.

        Returns:
            Tracks whose scores are those of the boxes, 0..1.

        Raises:
            TypeError: `video` is a path.
            DatasetError: a frame is missing or unreadable.
            ProgramKitError: the video has no expression, one without text or with too many words, or more of them than
                there is memory for.
        """
        check_video(video)
        expressions = as_expressions(video.expressions)
        if not self.per_frame:  # else masks of one frame are all that is held
            self.segmenter.check_memory(video.size, [1] * len(expressions))
        found = self._find_boxes(video, [expression.text or "" for expression in expressions], progress)
        tracks = []
        for expression, candidates in zip(expressions, found, strict=True):
            frames, path = np.arange(len(video)), best_path(candidates.boxes, candidates.scores)
            boxes, scores = candidates.boxes[frames, path], candidates.scores[frames, path]
            tracks.append(_GrowingTrack(expression, boxes, scores, self.soft_masks))
        there = [track for track in tracks if self._is_there(video, track)]
        steps = self._each_box(video, there) if self.per_frame else self._carried(video, there)
        for frame in steps:
            progress(len(video) + frame, 2 * len(video))
        return VideoMasks(
            video=video.id,
            size=video.size,
            frame_names=video.frame_names,
            tracks=tuple(track.build(video.size) for track in tracks),
        )

    def _find_boxes(self, video: Video, sentences: Sequence[str], progress: ProgressCallback) -> list[Candidates]:
        tokens = self.detector.tokens(sentences)
        boxes, scores = [], []
        for done, frame in enumerate(video.frames(), start=1):
            best = self.detector.candidates(frame, tokens)
            boxes.append(best[0])
            scores.append(best[1])
            progress(done, 2 * len(video))
        all_boxes, all_scores = torch.stack(boxes, 1).numpy(), torch.stack(scores, 1).numpy()
        return [Candidates(*both) for both in zip(all_boxes, all_scores, strict=True)]

    def _is_there(self, video: Video, track: _GrowingTrack) -> bool:
        best = float(track.scores.max())
        if best < self.threshold:
            self._say(
                f"video {video.id}: no masks for {track.expression.text!r}: its best score {best:.3f} is below "
                f"the threshold {self.threshold:g}"
            )
        return best >= self.threshold

    def _each_box(self, video: Video, tracks: Sequence[_GrowingTrack]) -> Iterator[int]:
        """Masks of each frame's own boxes; yields the number of frames that are done."""
        encoder = self.segmenter.encoder(video)
        for frame in range(len(video)):
            self._add_masks(encoder, frame, [track for track in tracks if track.scores[frame] >= self.threshold])
            encoder.cache.drop(frame)
            yield frame + 1

    def _carried(self, video: Video, tracks: Sequence[_GrowingTrack]) -> Iterator[int]:
        """Masks of the key frames' boxes, carried through the video; yields the number of frames that are done."""
        encoder = self.segmenter.encoder(video)
        for frame in sorted({track.key_frame for track in tracks}):
            self._add_masks(encoder, frame, [track for track in tracks if track.key_frame == frame])
        alike: dict[tuple[int, bytes], list[_GrowingTrack]] = {}
        for track in tracks:
            alike.setdefault((track.key_frame, track.masks[track.key_frame]), []).append(track)
        masks = {key: decode_mask(key[1], video.size) for key in alike}
        carried = [(key, same) for key, same in alike.items() if masks[key].any()]
        jobs = [Job(key[0], masks[key].astype(np.uint8)) for key, _ in carried]
        for done, result in enumerate(self.segmenter.carry(encoder, jobs), start=1):
            for track in carried[result.job][1]:
                track.add(result)
            yield 1 + done // len(jobs)

    def _add_masks(self, encoder: FrameEncoder, frame: int, tracks: Sequence[_GrowingTrack]) -> None:
        """The masks of the tracks' boxes in a frame."""
        if tracks:
            found = self.segmenter.segment(encoder, frame, [track.prompt(frame) for track in tracks])
            for track, result in zip(tracks, found, strict=True):
                track.add(result)
