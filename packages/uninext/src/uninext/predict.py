"""A loaded network on videos: what is computed once a video, once a frame, once an expression.

Frames are read, segmented and forgotten one by one, so memory does not grow with the length of a video beyond its
run-length masks. Letters: E expressions, T frames, H x W pixels of the video.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from mask_interchange import (
    Expression,
    MaskTrack,
    Video,
    VideoMasks,
    binary_from_probabilities,
    encode_mask,
    soft_from_probabilities,
    support_from_probabilities,
)
from torch import Tensor
from torch.nn import functional

from uninext.config import ImageConfig
from uninext.errors import InputError
from uninext.geometry import FrameGeometry, frame_geometry
from uninext.model import FrameFeatures, Uninext
from uninext.preprocess import FramePreprocessor
from uninext.text_encoder import EncodedText
from uninext.tokenizer import Tokenizer

MASK_STRIDE = 4
EXPRESSIONS_AT_ONCE = 4  # in one batch through encoder and decoder: bounds memory, changes no result
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class FramePredictions:
    """The top query of each expression on one frame.

    Attributes:
        queries: int64 [E] its index.
        scores: [E] square root of agreement times predicted overlap.
        boxes: [E, 4] (cx, cy, w, h) in 0..1 of the frame.
        probabilities: [E, H, W] at the frame's own size.
    """

    queries: Tensor
    scores: Tensor
    boxes: Tensor
    probabilities: Tensor


def predict_frame(
    network: Uninext, frame: FrameFeatures, text: EncodedText, output_size: tuple[int, int]
) -> Iterator[FramePredictions]:
    """Segment every expression in one encoded frame, `EXPRESSIONS_AT_ONCE` at a time; only top queries get masks."""
    for start in range(0, len(text), EXPRESSIONS_AT_ONCE):
        outputs = network.decode(frame, text[start : start + EXPRESSIONS_AT_ONCE])
        queries, scores = top_queries(query_scores(outputs.class_logits, outputs.iou_logits))
        logits = network.predict_masks(outputs, queries[:, None])[:, 0]
        yield FramePredictions(
            queries=queries,
            scores=scores,
            boxes=outputs.boxes.take_along_dim(queries[:, None, None], 1)[:, 0],
            probabilities=mask_probabilities(logits, frame.geometry.image_size, output_size),
        )


class VideoPredictor:
    """Segments videos with one network.

    Args:
        network: on the device where it is to run, in evaluation mode.
        tokenizer: for expressions.
        soft_masks: longer side in pixels of the probabilities to keep, or None.
        image: how frames become network input; by default as the network's configuration says.
    """

    def __init__(
        self, network: Uninext, tokenizer: Tokenizer, soft_masks: int | None = None, image: ImageConfig | None = None
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.soft_masks = soft_masks
        self.preprocess = FramePreprocessor(image or network.config.image)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @torch.inference_mode()
    def predict(self, video: Video, report: Report = lambda done, total: None) -> VideoMasks:
        """Masks, scores and key frame of every expression of a video.

        Args:
            video: its frames are read in order, once.
            report: told after every frame how many are done, and how many there are.

        Raises:
            mask_interchange.DatasetError: a frame is missing or unreadable.
            InputError: frames are too small for the network, or an expression has no sentence.
        """
        text = self.encode_text([_sentence(expression) for expression in video.expressions])
        geometry = self.geometry(video.size)
        tracks = [_TrackBuilder(expression) for expression in video.expressions]
        for done, frame in enumerate(video.frames(), start=1):
            features = self.network.encode_frame(self.preprocess(frame).to(self.device), geometry)
            found = self._found(features, text, video.size)
            for track, (score, probability) in zip(tracks, found, strict=True):
                track.add(score, probability, self.soft_masks)
            report(done, len(video.frame_names))
        return VideoMasks(
            video=video.id,
            size=video.size,
            frame_names=video.frame_names,
            tracks=tuple(track.finished(video.size) for track in tracks),
        )

    def encode_text(self, expressions: list[str]) -> EncodedText:
        """Expressions through the text encoder, once for all frames."""
        tokens = self.tokenizer(expressions).to(self.device)
        return self.network.encode_text(tokens.input_ids, tokens.padding_mask)

    def geometry(self, size: tuple[int, int]) -> FrameGeometry:
        """What follows from the frames' size (H, W), once for all frames."""
        image_size = self.preprocess.network_size(size)
        return frame_geometry(image_size, self.network.config.hidden_size, self.device)

    def _found(
        self, features: FrameFeatures, text: EncodedText, size: tuple[int, int]
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Score and probabilities float32 [H, W] of each expression on one frame."""
        for answers in predict_frame(self.network, features, text, size):
            yield from zip(answers.scores.tolist(), answers.probabilities.cpu().numpy(), strict=True)


def _sentence(expression: Expression) -> str:
    if expression.text is None:
        raise InputError(f"expression {expression.id!r} has no sentence; UNINEXT finds what sentences describe")
    return expression.text


@dataclass(slots=True)
class _TrackBuilder:
    """One expression's track while its video is being read; keeps run lengths, not pixels."""

    expression: Expression
    scores: list[float] = field(default_factory=list)
    masks: list[bytes] = field(default_factory=list)
    support: list[bytes] = field(default_factory=list)
    soft: list[np.ndarray] = field(default_factory=list)

    def add(self, score: float, probability: np.ndarray, soft_masks: int | None) -> None:
        """Append a frame."""
        self.scores.append(score)
        self.masks.append(encode_mask(binary_from_probabilities(probability)))
        self.support.append(encode_mask(support_from_probabilities(probability)))
        if soft_masks is not None:
            self.soft.append(soft_from_probabilities([probability], soft_masks)[0])

    def finished(self, size: tuple[int, int]) -> MaskTrack:
        """The whole track; its key frame is the first one with the best score."""
        scores = np.array(self.scores, np.float32)
        return MaskTrack(
            expression=self.expression,
            size=size,
            masks=tuple(self.masks),
            scores=scores,
            key_frame=int(scores.argmax()),
            support=tuple(self.support),
            soft=np.stack(self.soft) if self.soft else None,
        )


def query_scores(class_logits: Tensor, iou_logits: Tensor) -> Tensor:
    """Scores 0..1 of queries: geometric mean of agreement and predicted overlap; any shape."""
    return (class_logits.sigmoid() * iou_logits.sigmoid()).sqrt()


def top_queries(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Index and score of the best query of each expression, [E] each, from scores [E, Q]; the first of equals."""
    best = scores.max(-1)
    return best.indices, best.values


def mask_probabilities(logits: Tensor, image_size: tuple[int, int], output_size: tuple[int, int]) -> Tensor:
    """Probabilities [E, H, W] at full size from logits [E, h, w] at stride 4 of the padded frame.

    Upsampled by 4 before the sigmoid, cropped to the unpadded `image_size`, then taken to `output_size` by nearest
    neighbour: outlines are blocky, as in the published results.
    """
    at_input = functional.interpolate(
        logits[:, None], scale_factor=MASK_STRIDE, mode="bilinear", align_corners=False
    ).sigmoid()
    cropped = at_input[..., : image_size[0], : image_size[1]]
    return functional.interpolate(cropped, output_size, mode="nearest")[:, 0]
