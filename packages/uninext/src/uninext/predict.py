"""From weights to masks: the network of a checkpoint, with its tokenizer and its size of frames.

from uninext import UNINEXTPredictor

predictor = UNINEXTPredictor.load("model_final.pth", config="convnext-l")  # or UNINEXTPredictor.load(): bundled weights
tracks = predictor.segment(frames, ["the brown dog", "a dog turning"])  # frames: uint8 [H, W, 3] RGB each
tracks[0].mask(7)  # bool [H, W]

Frames are read, segmented and dropped one by one, on a GPU some at a time, so memory does not grow with the length of a
video beyond its run-length masks. Letters: E expressions, Q queries, T frames, F frames at a time, H x W pixels of the
video.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, cycle, islice
from operator import length_hint
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import torch
from mask_interchange.rle import encode_mask
from mask_interchange.track import (
    SIGMOID_HALF,
    Expression,
    MaskTrack,
    VideoMasks,
    soft_from_probabilities,
)
from mask_interchange.video import Video
from program_kit.frame_reading import AheadReader, read_ahead
from program_kit.options import Precision
from program_kit.progress import ProgressCallback
from program_kit.python_arguments import as_expressions, check_frames, check_video
from program_kit.torch.device import choose_device
from program_kit.torch.memory import rows_at_once
from program_kit.torch.precision import set_precision
from program_kit.torch.transfer import Download, arrived, to_device
from program_kit.weights import TakesWeights, choose_network
from rvos_layers.encoders.tokenizer import AUTO, Tokenizer
from torch import Tensor
from torch.nn import functional

from uninext.bundled import BUNDLED
from uninext.checkpoint import CHECKPOINTS
from uninext.config import CONFIGS, ImageConfig, named_config
from uninext.deformable_transformer import EncoderLayer
from uninext.errors import InputError
from uninext.geometry import FrameGeometry, frame_geometry
from uninext.model import FrameFeatures, Uninext
from uninext.preprocess import FramePreprocessor, load_tokenizer
from uninext.text_encoder import EncodedText

MASK_STRIDE = 4
FRAMES_AHEAD = 16  # of the next video that are held while one is worked on


class UNINEXTPredictor:
    """Segments what expressions refer to: `predict` takes a video, `segment` any frames. Begin with `load`.

    Args:
        network: on its device, in evaluation mode.
        tokenizer: the one that the network was trained with.
        image: how frames become network input; by default as the configuration of the network says.
        soft_masks: longer side in pixels of the probabilities to keep beside the masks; None for none.
        precision: set on `network`, see `program_kit.torch.precision`.
    """

    def __init__(
        self,
        network: Uninext,
        tokenizer: Tokenizer,
        image: ImageConfig | None = None,
        *,
        soft_masks: int | None = None,
        precision: Precision = "strict",
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.soft_masks = soft_masks
        self.preprocess = FramePreprocessor(image or network.config.image)
        self._reader = AheadReader(lambda video: self._resized(video.frames()), FRAMES_AHEAD)
        self._products = set_precision(network, precision)

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        seed: int | None = None,
        config: str | None = None,
        device: str = "auto",
        precision: Precision = "strict",
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
            precision: as `program_kit.torch.precision` has it.
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

    def expect(self, video: Video) -> None:
        """Begin to read and resize the video that `predict` gets next, its first frames."""
        self._reader.expect(video)

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
        tracks = self._segment(self._reader.read(video), expressions, len(video.frame_names), progress)
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
        return self._segment(self._resized(frames), as_expressions(expressions), length_hint(frames), progress)

    @torch.inference_mode()
    def _segment(
        self,
        resized: Iterator["_ResizedFrame"],
        expressions: Sequence[Expression],
        count: int,
        progress: ProgressCallback,
    ) -> list[MaskTrack]:
        text = self.encode_text([expression.text or "" for expression in expressions])
        tracks = [_TrackBuilder(expression) for expression in expressions]
        if (first := next(resized, None)) is None:
            raise InputError("frames: expected at least one, found none")
        size, done = first.size, 0
        geometry = self.geometry(size)
        batches = _batches(chain((first,), resized), self.frames_at_once(geometry, len(expressions)))
        found = self._found(read_ahead(batches), geometry, text, size)
        pairs = chain.from_iterable(zip(*arrays, strict=True) for _, arrays in arrived(found))
        for track, (score, mask, support, *probability) in zip(cycle(tracks), pairs, strict=False):
            track.add(float(score), mask, support)
            if self.soft_masks is not None:
                track.soft.append(soft_from_probabilities(probability, self.soft_masks)[0])
            if track is tracks[-1]:
                done += 1
                progress(done, max(done, count))
        return [track.build(size) for track in tracks]

    def _resized(self, frames: Iterable[np.ndarray]) -> "Iterator[_ResizedFrame]":
        size = None
        for number, frame in enumerate(frames):
            pixels = self.preprocess(frame)
            size = frame.shape[:2] if size is None else size
            if frame.shape[:2] != size:
                raise InputError(f"frame {number}: expected size {size} as of frame 0, found {frame.shape[:2]}")
            yield _ResizedFrame(size, pixels)

    def frames_at_once(self, geometry: FrameGeometry, expressions: int) -> int:
        """How many frames go through the network together: one on the CPU, where it gains nothing."""
        return 1 if self.device.type == "cpu" else max(1, pairs_at_once(self.network, geometry) // expressions)

    def encode_text(self, expressions: Sequence[str]) -> EncodedText:
        """Encode expressions, once for all frames."""
        tokens = self.tokenizer(expressions).to(self.device)
        with self._products:
            return self.network.encode_text(tokens.input_ids, tokens.padding_mask)

    def geometry(self, size: tuple[int, int]) -> FrameGeometry:
        """The geometry of frames of a size (H, W), once for all frames."""
        image_size = self.preprocess.network_size(size)
        return frame_geometry(image_size, self.network.config.hidden_size, self.device)

    def _found(
        self, batches: Iterable[Tensor], geometry: FrameGeometry, text: EncodedText, size: tuple[int, int]
    ) -> Iterator[tuple["FramePredictions", Download]]:
        """Score, mask and support of each expression on the first frame, then on the next one, and so on; probabilities
        [H, W] where soft masks are asked for."""
        for pixels in batches:
            images = self.preprocess.normalise(to_device(pixels, self.device))
            found = predict_frames(self.network, images, geometry, text, size)
            while (predictions := self._next(found)) is not None:
                p = predictions.probabilities
                soft = [] if self.soft_masks is None else [p]
                yield predictions, Download([predictions.scores, p > 0.5, p > float(SIGMOID_HALF), *soft])

    def _next(self, found: Iterator["FramePredictions"]) -> "FramePredictions | None":
        """The next predictions; the precision does not hold while a caller works on them."""
        with self._products:
            return next(found, None)


class _ResizedFrame(NamedTuple):
    """A frame for the network: its own size (H, W), and resized pixels uint8 [3, h, w]."""

    size: tuple[int, int]
    pixels: Tensor


def _batches(frames: Iterator[_ResizedFrame], count: int) -> Iterator[Tensor]:
    """Pixels uint8 [F, 3, h, w] of so many frames together."""
    while group := list(islice(frames, count)):
        yield torch.stack([frame.pixels for frame in group])


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


def pairs_at_once(network: Uninext, geometry: FrameGeometry) -> int:
    """How many pairs of a frame and an expression go through encoder and decoder together."""
    layer = network.encoder[0]
    assert isinstance(layer, EncoderLayer)
    weight = layer.feedforward.expand.weight
    return rows_at_once(weight.device, geometry.tokens * len(weight) * weight.element_size())


def predict_frames(
    network: Uninext, images: Tensor, geometry: FrameGeometry, text: EncodedText, output_size: tuple[int, int]
) -> Iterator[FramePredictions]:
    """Segment every expression in frames [F, 3, H, W] of one geometry; one frame after the other in all results."""
    if len(images) == 1:
        yield from predict_frame(network, network.encode_frame(images[0], geometry), text, output_size)
        return
    frames = network.encode_frames(images, geometry)
    pairs = torch.arange(len(images) * len(text), device=images.device)
    for some in pairs.split(pairs_at_once(network, geometry)):
        yield _predict(network, frames.of_frames(some // len(text)), text[some % len(text)], output_size)


def predict_frame(
    network: Uninext, frame: FrameFeatures, text: EncodedText, output_size: tuple[int, int]
) -> Iterator[FramePredictions]:
    """Segment every expression in one encoded frame, some at a time; only top queries get masks."""
    at_once = pairs_at_once(network, frame.geometry)
    for start in range(0, len(text), at_once):
        yield _predict(network, frame, text[start : start + at_once], output_size)


def _predict(
    network: Uninext, frame: FrameFeatures, text: EncodedText, output_size: tuple[int, int]
) -> FramePredictions:
    outputs = network.decode(frame, text)
    queries, scores = top_queries(query_scores(outputs.class_logits, outputs.iou_logits))
    logits = network.predict_masks(outputs, queries[:, None])[:, 0]
    return FramePredictions(
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

    def add(self, score: float, mask: np.ndarray, support: np.ndarray) -> None:
        """Append a frame, of bool [H, W]."""
        self.scores.append(score)
        self.masks.append(encode_mask(mask))
        self.support.append(encode_mask(support))

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
