"""A model, its tokenizer and the size of its frames: from a video and sentences to mask tracks.

The same for every model that offers `Segmenter`. What the video alone decides is computed once; sentences are asked
about in groups; masks are drawn for the chosen query of each sentence, then enlarged and encoded one frame after the
other.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol, TypeVar, cast

import numpy as np
import torch
from mask_interchange import Expression, MaskTrack, Video, VideoMasks, soft_from_probabilities
from torch import Tensor, nn

from rvos_layers.blocks.heads import FoundQueries
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.tokenizer import Tokenizer, Tokens
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_layers.errors import RVOSLayersError
from rvos_layers.frame_groups import groups
from rvos_layers.inference.config import ResizeRule
from rvos_layers.inference.preprocess import clip_of
from rvos_layers.inference.progress import Report, reported
from rvos_layers.inference.query_masks import THRESHOLD, choose_query, full_size_probabilities

QUESTIONS_HELD = 96  # frames x sentences of which a model holds encoder memory, though never less than a sentence's


F = TypeVar("F", bound=FoundQueries)


class Segmenter(Protocol[F]):
    """What a model must offer; it is a `torch.nn.Module` besides."""

    def encode_video(self, frames: Tensor) -> VideoFeatures:
        """Everything that needs no sentence, of frames float32[1, T, 3, H, W]."""
        ...

    def encode_text(self, tokens: Tokens) -> TextFeatures:
        """Everything that needs no video."""
        ...

    def find(self, video: VideoFeatures, text: TextFeatures) -> F:
        """Score the queries of E sentences about the video."""
        ...

    def draw(self, video: VideoFeatures, text: TextFeatures, found: F) -> Tensor:
        """Mask logits [E, T, Q, h, w] of the queries in `found`."""
        ...


class VideoPredictor:
    """Segments what sentences refer to.

    Args:
        model: in evaluation mode, on `device`.
        tokenizer: the one the model was trained with.
        resize: size of the frames for the network.
        device: where the model is.
        soft_masks: longer side in pixels of probabilities to keep beside the masks; None for none.
    """

    def __init__(
        self,
        model: Segmenter[FoundQueries],
        tokenizer: Tokenizer,
        resize: ResizeRule,
        *,
        device: torch.device | str = "cpu",
        soft_masks: int | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.resize = resize
        self.device = device
        self.soft_masks = soft_masks

    def predict(self, video: Video, report: Report = lambda done, total: None) -> VideoMasks:
        """Masks of all the video's expressions in all its frames.

        Args:
            video: with at least one expression.
            report: told how many units of work are done, for progress.
        """
        tracks = self.segment(video.frames(), video.expressions, report)
        return VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tuple(tracks))

    def segment(
        self,
        frames: Iterable[np.ndarray],
        expressions: Sequence[Expression | str],
        report: Report = lambda done, total: None,
    ) -> list[MaskTrack]:
        """Masks of every expression in every frame; all frames are one clip.

        Args:
            frames: uint8[H, W, 3] RGB each, all of one size.
            expressions: sentences; a plain string gets its place in the list as id.
            report: as in `predict`.

        Returns:
            one track for each expression, of masks [H, W].
        """
        expressions = [
            Expression(id=str(place), text=item) if isinstance(item, str) else item
            for place, item in enumerate(expressions)
        ]
        first, frames = _peek(frames)
        with torch.inference_mode():
            clip = clip_of(frames, self.resize).to(self.device)
            count = clip.shape[1]
            with reported(cast(nn.Module, self.model), count, len(expressions), report):
                video = self.model.encode_video(clip)
                del clip
                return [
                    track
                    for some in groups(len(expressions), self.sentences_at_once(count))
                    for track in self._answer(video, expressions[some], first.shape[:2])
                ]

    def sentences_at_once(self, frames: int) -> int:
        """How many sentences are asked together about a video of so many frames; bounds memory, changes no result."""
        return max(1, QUESTIONS_HELD // frames)

    def _answer(
        self, video: VideoFeatures, expressions: Sequence[Expression], size: tuple[int, int]
    ) -> list[MaskTrack]:
        text = self.model.encode_text(self.tokenizer([item.text or "" for item in expressions]).to(self.device))
        found = self.model.find(video, text)
        chosen = [choose_query(logits) for logits in found.logits]
        kept = found.keep(torch.tensor([choice.query for choice in chosen], device=self.device))
        drawn = self.model.draw(video, text, kept)[:, :, 0]  # [E, T, h, w]
        return [
            self._track(expression, choice.scores.cpu().numpy(), mask_logits, size)
            for expression, choice, mask_logits in zip(expressions, chosen, drawn, strict=True)
        ]

    def _track(
        self, expression: Expression, scores: np.ndarray, mask_logits: Tensor, size: tuple[int, int]
    ) -> MaskTrack:
        def probabilities() -> Iterator[np.ndarray]:
            return full_size_probabilities(mask_logits, size)

        return MaskTrack.from_masks(
            expression,
            (frame > THRESHOLD for frame in probabilities()),
            scores=scores,
            soft=None if self.soft_masks is None else soft_from_probabilities(probabilities(), self.soft_masks),
        )


def _peek(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterable[np.ndarray]]:
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise RVOSLayersError("expected at least one frame, found none")
    return first, chain((first,), frames)
