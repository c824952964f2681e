"""A model, its tokenizer and its frame size: from a video and expressions to mask tracks.

The same for every model that has the methods of `Segmenter`. What depends on the video alone is computed once.
Expressions are computed a few at a time. Masks are computed for the chosen query of each expression, then resized and
encoded frame by frame.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Protocol, TypeVar, cast

import numpy as np
import torch
from mask_interchange import Expression, MaskTrack, Video, VideoMasks, soft_from_probabilities
from program_kit.options import Precision
from program_kit.progress import ProgressCallback
from program_kit.python_arguments import as_expressions, check_frames, check_video
from program_kit.torch.memory import rows_at_once
from program_kit.torch.precision import set_precision
from torch import Tensor, nn

from rvos_layers.blocks.heads import QueryOutputs
from rvos_layers.chunks import chunk_slices
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.tokenizer import Tokenizer, Tokens
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_layers.errors import RVOSLayersError
from rvos_layers.inference.config import ResizeRule
from rvos_layers.inference.preprocess import make_clip
from rvos_layers.inference.progress import report_progress
from rvos_layers.inference.query_masks import choose_query, full_size_masks, full_size_probabilities

Outputs = TypeVar("Outputs", bound=QueryOutputs)


class Segmenter(Protocol[Outputs]):
    """What a model must offer; it is also a `torch.nn.Module`."""

    def encode_video(self, frames: Tensor) -> VideoFeatures:
        """Everything that needs no text, from frames float32[1, T, 3, H, W]."""
        ...

    def encode_text(self, tokens: Tokens) -> TextFeatures:
        """Everything that needs no video."""
        ...

    def decode(self, video: VideoFeatures, text: TextFeatures) -> Outputs:
        """Decode and score the queries of E expressions about the video."""
        ...

    def predict_masks(self, video: VideoFeatures, text: TextFeatures, outputs: Outputs) -> Tensor:
        """Mask logits [E, T, Q, h, w] of the queries in `outputs`."""
        ...


class VideoPredictor:
    """Segments what expressions refer to: `predict` takes a video, `segment` any frames.

    Args:
        model: in evaluation mode, on `device`.
        tokenizer: the one that the model was trained with.
        resize: size of the frames for the network.
        device: where the model is.
        soft_masks: longer side in pixels of the probabilities to keep beside the masks; None for none.
        precision: set on `model`, see `program_kit.torch.precision`; masks and scores are always made in float32.
    """

    def __init__(
        self,
        model: Segmenter[QueryOutputs],
        tokenizer: Tokenizer,
        resize: ResizeRule,
        *,
        device: torch.device | str = "cpu",
        soft_masks: int | None = None,
        precision: Precision = "strict",
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.resize = resize
        self.device = torch.device(device)
        self.soft_masks = soft_masks
        self._products = set_precision(cast(nn.Module, model), precision)

    def predict(self, video: Video, progress: ProgressCallback = lambda done, total: None) -> VideoMasks:
        """Masks of all expressions of a video in all its frames.

        Args:
            video: with at least one expression.
            progress: gets the units of work done, and all units.

        Raises:
            TypeError: `video` is a path.
            DatasetError: a frame is missing or unreadable.
            ProgramKitError: the video has no expression, or one without text.
            RVOSLayersError: the frames are too small for the network, or an expression is too long for it.
        """
        check_video(video)
        tracks = self.segment(video.frames(), video.expressions, progress)
        return VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tuple(tracks))

    def segment(
        self,
        frames: Iterable[np.ndarray],
        expressions: str | Expression | Sequence[str | Expression],
        progress: ProgressCallback = lambda done, total: None,
    ) -> list[MaskTrack]:
        """Masks of every expression in every frame; all frames are one clip.

        Args:
            frames: uint8[H, W, 3] RGB each, all of one size.
            expressions: what to segment, one or several; the id of a plain string is its place in the sequence.
            progress: as in `predict`.

        Returns:
            one track for each expression, of masks [H, W].

        Raises:
            TypeError: `frames` is the path of a video.
            RVOSLayersError: there is no frame, a frame has another shape or type, or an expression is too long.
            ProgramKitError: there is no expression, or one without text.
        """
        check_frames(frames)
        expressions = as_expressions(expressions)
        first, frames = _peek(frames)
        with torch.inference_mode():
            clip = make_clip(frames, self.resize).to(self.device)
            count = clip.shape[1]
            with report_progress(cast(nn.Module, self.model), count, len(expressions), progress):
                with self._products:
                    video = self.model.encode_video(clip)
                del clip
                return [
                    track
                    for chunk in chunk_slices(len(expressions), self.expressions_at_once(video))
                    for track in self._segment_chunk(video, expressions[chunk], first.shape[:2])
                ]

    def expressions_at_once(self, video: VideoFeatures) -> int:
        """How many expressions to compute at once: the encoder's memory of all their frames is held."""
        return rows_at_once(self.device, sum(level.nbytes for level in video.levels))

    def _segment_chunk(
        self, video: VideoFeatures, expressions: Sequence[Expression], size: tuple[int, int]
    ) -> list[MaskTrack]:
        tokens = self.tokenizer([expression.text or "" for expression in expressions]).to(self.device)
        with self._products:
            text = self.model.encode_text(tokens)
            outputs = self.model.decode(video, text)
        chosen = choose_query(outputs.logits.float())
        selected = outputs.select(chosen.query)
        with self._products:
            masks = self.model.predict_masks(video, text, selected)[:, :, 0]  # [E, T, h, w]
        return [
            self._track(expression, scores, mask_logits, size)
            for expression, scores, mask_logits in zip(
                expressions, chosen.scores.cpu().numpy(), masks.float(), strict=True
            )
        ]

    def _track(
        self, expression: Expression, scores: np.ndarray, mask_logits: Tensor, size: tuple[int, int]
    ) -> MaskTrack:
        soft = None
        if self.soft_masks is not None:
            soft = soft_from_probabilities(full_size_probabilities(mask_logits, size), self.soft_masks)
        return MaskTrack.from_masks(expression, full_size_masks(mask_logits, size), scores=scores, soft=soft)


def _peek(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterable[np.ndarray]]:
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise RVOSLayersError("expected at least one frame, found none")
    return first, chain((first,), frames)
