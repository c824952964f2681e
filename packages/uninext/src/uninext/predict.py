"""From weights to masks: the network of a checkpoint, with its tokenizer and its size of frames.

from uninext import UNINEXTPredictor

predictor = UNINEXTPredictor.load("model_final.pth", config="convnext-l")  # or UNINEXTPredictor.load(): bundled weights
tracks = predictor.segment(frames, ["the brown dog", "a dog turning"])  # frames: uint8 [H, W, 3] RGB each
tracks[0].mask(7)  # bool [H, W]

Frames are read, segmented and dropped one by one, so memory does not grow with the length of a video beyond its
run-length masks. Letters: E expressions, Q queries, T frames, H x W pixels of the video.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import length_hint
from pathlib import Path
from typing import Self

import numpy as np
import torch
from mask_interchange.rle import encode_mask
from mask_interchange.track import (
    Expression,
    MaskTrack,
    VideoMasks,
    binary_from_probabilities,
    soft_from_probabilities,
    support_from_probabilities,
)
from mask_interchange.video import Video
from program_kit.options import Precision
from program_kit.progress import ProgressCallback
from program_kit.python_arguments import as_expressions, check_frames, check_video
from program_kit.torch.device import choose_device
from program_kit.torch.precision import autocast
from program_kit.weights import TakesWeights, choose_network
from rvos_layers.encoders.tokenizer import AUTO, Tokenizer
from torch import Tensor
from torch.nn import functional

from uninext.bundled import BUNDLED
from uninext.checkpoint import CHECKPOINTS
from uninext.config import CONFIGS, ImageConfig, named_config
from uninext.errors import InputError
from uninext.geometry import FrameGeometry, frame_geometry
from uninext.model import FrameFeatures, Uninext
from uninext.preprocess import FramePreprocessor, load_tokenizer
from uninext.text_encoder import EncodedText

MASK_STRIDE = 4
EXPRESSIONS_AT_ONCE = 4  # in one batch through encoder and decoder: bounds memory, changes no result


class UNINEXTPredictor:
    """Segments what expressions refer to: `predict` takes a video, `segment` any frames. Begin with `load`.

    Args:
        network: on its device, in evaluation mode.
        tokenizer: the one that the network was trained with.
        image: how frames become network input; by default as the configuration of the network says.
        soft_masks: longer side in pixels of the probabilities to keep beside the masks; None for none.
        precision: `float16` and `bfloat16` run the network under autocast.
    """

    def __init__(
        self,
        network: Uninext,
        tokenizer: Tokenizer,
        image: ImageConfig | None = None,
        *,
        soft_masks: int | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.soft_masks = soft_masks
        self.preprocess = FramePreprocessor(image or network.config.image)
        self._autocast = autocast(self.device, precision)

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        seed: int | None = None,
        config: str | None = None,
        device: str = "auto",
        precision: Precision = "float32",
        tokenizer: str = AUTO,
        soft_masks: int | None = None,
        short_side: int | None = None,
    ) -> Self:
        """Load a network.

        Args:
            checkpoint: published or converted weights. Without it and without a seed, weights that the package ships.
            seed: of random weights instead, for trying things out.
            config: name of a configuration in `uninext.config.CONFIGS`; by default the one that the checkpoint names,
                else `convnext-l`, and `demo-convnext` for shipped weights.
            device: `auto`, `cpu`, `cuda` or `cuda:<number>`.
            precision: `float16` and `bfloat16` run the network under autocast.
            tokenizer: folder with `vocab.txt` of `bert-base-uncased`, a Hugging Face hub id, or another name that
                `preprocess.load_tokenizer` takes; `auto` for the one that the weights were trained with.
            soft_masks: longer side in pixels of the probabilities to keep beside the masks; None for none.
            short_side: of the frames for the network, in pixels; None for what the weights' file says, else that of the
                configuration.

        Raises:
            WeightsError: no such configuration or file, or both a checkpoint and a seed.
            CheckpointError: the file cannot be read safely, or does not fit the configuration.
            DeviceError: this machine does not have the device.
            TokenizerError: the tokenizer cannot be read.
        """
        file = None if checkpoint is None else Path(checkpoint)
        takes = TakesWeights(name="uninext-infer", configs=tuple(CONFIGS), bundled=tuple(BUNDLED.values()))
        name, weights = choose_network(takes, config, file, None if seed is None else f"random:{seed}")
        shape = named_config(name)
        if (origin := weights.origin) is not None:
            short_side = short_side or origin.short_side
        return cls(
            CHECKPOINTS.network(name, weights).eval().requires_grad_(False).to(choose_device(device)),
            load_tokenizer(tokenizer, shape.text, untrained=weights.seed is not None, origin=origin),
            shape.image if short_side is None else replace(shape.image, short_side=short_side),
            soft_masks=soft_masks,
            precision=precision,
        )

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def predict(self, video: Video, progress: ProgressCallback = lambda done, total: None) -> VideoMasks:
        """Masks, scores and key frame of every expression of a video.

        Args:
            video: its frames are read in order, once.
            progress: called after every frame with the number of frames that are done, and of all.

        Raises:
            TypeError: `video` is a path.
            DatasetError: a frame is missing or unreadable.
            ProgramKitError: the video has no expression, or one without text.
            InputError: the frames are too small for the network.
            TokenizerError: the tokenizer is not the one that the network was trained with.
        """
        check_video(video)
        expressions = as_expressions(video.expressions)
        tracks = self._segment(video.frames(), expressions, len(video.frame_names), progress)
        return VideoMasks(video=video.id, size=video.size, frame_names=video.frame_names, tracks=tuple(tracks))

    def segment(
        self,
        frames: Iterable[np.ndarray],
        expressions: str | Expression | Sequence[str | Expression],
        progress: ProgressCallback = lambda done, total: None,
    ) -> list[MaskTrack]:
        """Masks of every expression in every frame.

        Args:
            frames: uint8 [H, W, 3] RGB each, all of one size; they are read in order, once.
            expressions: what to segment, one or several; the id of a plain string is its place in the sequence.
            progress: as in `predict`; of an iterator, whose length is not known, the frames so far count as all.

        Returns:
            One track for each expression, of masks [H, W].

        Raises:
            TypeError: `frames` is the path of a video.
            InputError: there is no frame, or a frame has a wrong shape, type or size.
            ProgramKitError, TokenizerError: as `predict`.
        """
        check_frames(frames)
        return self._segment(frames, as_expressions(expressions), length_hint(frames), progress)

    @torch.inference_mode()
    def _segment(
        self, frames: Iterable[np.ndarray], expressions: Sequence[Expression], count: int, progress: ProgressCallback
    ) -> list[MaskTrack]:
        text = self.encode_text([expression.text or "" for expression in expressions])
        tracks = [_TrackBuilder(expression) for expression in expressions]
        geometry: FrameGeometry | None = None
        size = (0, 0)
        for done, frame in enumerate(frames, start=1):
            image = self.preprocess(frame).to(self.device)
            if geometry is None:
                size = frame.shape[:2]
                geometry = self.geometry(size)
            elif frame.shape[:2] != size:
                raise InputError(f"frame {done - 1}: expected size {size} as of frame 0, found {frame.shape[:2]}")
            for track, (score, probability) in zip(tracks, self._scored(image, geometry, text, size), strict=True):
                track.add(score, probability, self.soft_masks)
            progress(done, max(done, count))
        if geometry is None:
            raise InputError("frames: expected at least one, found none")
        return [track.build(size) for track in tracks]

    def encode_text(self, expressions: Sequence[str]) -> EncodedText:
        """Encode expressions, once for all frames."""
        tokens = self.tokenizer(expressions).to(self.device)
        with self._autocast:
            return self.network.encode_text(tokens.input_ids, tokens.padding_mask)

    def geometry(self, size: tuple[int, int]) -> FrameGeometry:
        """The geometry of frames of a size (H, W), once for all frames."""
        image_size = self.preprocess.network_size(size)
        return frame_geometry(image_size, self.network.config.hidden_size, self.device)

    def _scored(
        self, image: Tensor, geometry: FrameGeometry, text: EncodedText, size: tuple[int, int]
    ) -> Iterator[tuple[float, np.ndarray]]:
        """Score and probabilities float32 [H, W] of each expression on one frame."""
        with self._autocast:
            features = self.network.encode_frame(image, geometry)
            for predictions in predict_frame(self.network, features, text, size):
                yield from zip(predictions.scores.tolist(), predictions.probabilities.cpu().numpy(), strict=True)


@dataclass(frozen=True, slots=True, eq=False)
class FramePredictions:
    """The top query of each expression on one frame.

    Attributes:
        queries: int64 [E] its index.
        scores: [E] square root of agreement times predicted overlap.
        boxes: [E, 4] (cx, cy, w, h) in 0..1 of the frame.
        probabilities: float32 [E, H, W] at the frame's own size.
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


def query_scores(class_logits: Tensor, iou_logits: Tensor) -> Tensor:
    """Scores 0..1 of queries: geometric mean of agreement and predicted overlap; float32 of any shape."""
    return (class_logits.float().sigmoid() * iou_logits.float().sigmoid()).sqrt()


def top_queries(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Index and score of the best query of each expression, [E] each, from scores [E, Q]; the first of equals."""
    best = scores.max(-1)
    return best.indices, best.values


def mask_probabilities(logits: Tensor, image_size: tuple[int, int], output_size: tuple[int, int]) -> Tensor:
    """Probabilities [E, H, W] at full size from logits [E, h, w] at stride 4 of the padded frame.

    Logits are upsampled by 4 before the sigmoid, cropped to the unpadded `image_size`, and resized to `output_size` by
    nearest neighbour. This makes outlines blocky, as in the published results.
    """
    at_input = functional.interpolate(
        logits[:, None], scale_factor=MASK_STRIDE, mode="bilinear", align_corners=False
    ).sigmoid()
    cropped = at_input[..., : image_size[0], : image_size[1]]
    return functional.interpolate(cropped, output_size, mode="nearest")[:, 0]


@dataclass(slots=True)
class _TrackBuilder:
    """Collects one expression's track frame by frame, as run lengths."""

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

    def build(self, size: tuple[int, int]) -> MaskTrack:
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
