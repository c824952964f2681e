"""A model, its tokenizer and its frame size: from a video and expressions to mask tracks.

The same for every model that has the methods of `Segmenter`. What depends on the video alone is computed once.
Expressions are computed a few at a time. Masks are computed for the chosen query of each expression, then resized and
encoded frame by frame. A video is one clip, or is cut into windows (`windows`).
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol, TypeVar, cast

import numpy as np
import torch
from mask_interchange import Expression, MaskTrack, Size, Video, VideoMasks, encode_mask, soft_from_probabilities
from program_kit.frame_reading import AheadReader, read_ahead
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
from rvos_layers.inference.config import ResizeRule, Windows
from rvos_layers.inference.preprocess import make_clip, resized
from rvos_layers.inference.progress import report_progress
from rvos_layers.inference.query_masks import best_queries, full_size_masks, full_size_probabilities
from rvos_layers.inference.windows import (
    CANDIDATES,
    GrowingTrack,
    WindowMasks,
    best_continuation,
    cut,
    progress_of_window,
)

__all__ = ["Segmenter", "VideoPredictor"]

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
        windows: how long videos are cut; None makes one clip of every video, as published.
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
        windows: Windows | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.resize = resize
        self.device = torch.device(device)
        self.soft_masks = soft_masks
        self.windows = windows
        self._reader = AheadReader(lambda video: self._clips(video.frames()), 1)
        self._products = set_precision(cast(nn.Module, model), precision)

    def expect(self, video: Video) -> None:
        """Begin to read and resize the video that `predict` gets next, its first clip."""
        self._reader.expect(video)

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
        windows = None if self.windows is None else self.windows.count(len(video))
        expressions = as_expressions(video.expressions)
        tracks = self._segment(self._reader.read(video), video.size, expressions, progress, windows)
        return VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tuple(tracks))

    def segment(
        self,
        frames: Iterable[np.ndarray],
        expressions: str | Expression | Sequence[str | Expression],
        progress: ProgressCallback = lambda done, total: None,
    ) -> list[MaskTrack]:
        """Masks of every expression in every frame; all frames are one clip, or are cut into `windows`.

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
        clips = read_ahead(self._clips(frames))
        return self._segment(clips, (first.shape[0], first.shape[1]), expressions, progress, None)

    def _clips(self, frames: Iterable[np.ndarray]) -> Iterator[tuple[int, list[np.ndarray]]]:
        return cut(resized(frames, self.resize), self.windows)

    def _segment(
        self,
        clips: Iterable[tuple[int, list[np.ndarray]]],
        size: Size,
        expressions: Sequence[Expression],
        progress: ProgressCallback,
        windows: int | None,
    ) -> list[MaskTrack]:
        """As `segment`, of resized clips and their first frames; `windows` is their number, if it is known."""
        tracks = [GrowingTrack(expression, size) for expression in expressions]
        for number, (start, clip) in enumerate(clips):
            before = [track.overlap(start) for track in tracks]
            of_window = self._segment_clip(
                clip, expressions, size, before, progress_of_window(number, windows, progress)
            )
            for track, found in zip(tracks, of_window, strict=True):
                track.add(start, found)
        return [track.whole() for track in tracks]

    def _segment_clip(
        self,
        frames: Sequence[np.ndarray],
        expressions: Sequence[Expression],
        size: Size,
        before: Sequence[Tensor | None],
        progress: ProgressCallback,
    ) -> list[WindowMasks]:
        """Masks of every expression in one clip of resized frames; `before` as `GrowingTrack.overlap` gives it."""
        with torch.inference_mode():
            clip = make_clip(frames, self.device)
            with report_progress(cast(nn.Module, self.model), len(frames), len(expressions), progress):
                with self._products:
                    video = self.model.encode_video(clip)
                del clip
                return [
                    found
                    for chunk in chunk_slices(len(expressions), self.expressions_at_once(video))
                    for found in self._segment_chunk(video, expressions[chunk], size, before[chunk])
                ]

    def expressions_at_once(self, video: VideoFeatures) -> int:
        """How many expressions to compute at once: the encoder's memory of all their frames is held."""
        return rows_at_once(self.device, sum(level.nbytes for level in video.levels))

    def _segment_chunk(
        self, video: VideoFeatures, expressions: Sequence[Expression], size: Size, before: Sequence[Tensor | None]
    ) -> list[WindowMasks]:
        tokens = self.tokenizer([expression.text or "" for expression in expressions]).to(self.device)
        with self._products:
            text = self.model.encode_text(tokens)
            outputs = self.model.decode(video, text)
        best = best_queries(outputs.logits.float(), 1 if before[0] is None else CANDIDATES)
        with self._products:
            masks = self.model.predict_masks(video, text, outputs.select(best.query))  # [E, T, n, h, w]
        found = []
        for scores, mask_logits, last in zip(best.scores, masks.float(), before, strict=True):
            query = 0 if last is None else best_continuation(scores, mask_logits > 0, last)
            found.append(self._window_masks(scores[query], mask_logits[:, query], size))
        return found

    def _window_masks(self, scores: Tensor, mask_logits: Tensor, size: Size) -> WindowMasks:
        soft = None
        if self.soft_masks is not None:
            soft = soft_from_probabilities(full_size_probabilities(mask_logits, size), self.soft_masks)
        return WindowMasks(
            masks=[encode_mask(mask) for mask in full_size_masks(mask_logits, size)],
            scores=scores.cpu().numpy(),
            soft=soft,
            outline=None if self.windows is None else mask_logits > 0,
        )


def _peek(frames: Iterable[np.ndarray]) -> tuple[np.ndarray, Iterable[np.ndarray]]:
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise RVOSLayersError("expected at least one frame, found none")
    return first, chain((first,), frames)
