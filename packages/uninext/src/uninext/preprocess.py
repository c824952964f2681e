"""From frames and expressions to network input."""

import re

import numpy as np
import numpy.typing as npt
import torch
from detectron2.data.transforms import ResizeShortestEdge
from program_kit.origin import Origin
from program_kit.torch.transfer import constant
from rvos_layers.encoders.tokenizer import BERT, Tokenizer, named_encoder, tokenizer_name
from torch import Tensor
from torch.nn import functional

from uninext.config import SIZE_DIVISIBILITY, ImageConfig, TextConfig
from uninext.errors import InputError

_DELETED = re.compile(r"[.,'!?\"()*#:;]")
_SPLIT = re.compile(r"[-/]")


def clean_expression(text: str) -> str:
    """An expression as the tokenizer gets it: lower case, some punctuation deleted, hyphens and slashes made spaces."""
    return _SPLIT.sub(" ", _DELETED.sub("", text.lower()))


def load_tokenizer(
    name: str, config: TextConfig, *, untrained: bool = False, origin: Origin | None = None
) -> Tokenizer:
    """The tokenizer of a name. It cleans expressions, and truncates those with more tokens than the network was trained
    with, as the published code does.

    Args:
        name: folder with `vocab.txt` of `bert-base-uncased`, or a Hugging Face hub id; `demo` for the tokenizer of the
            demo configurations; `bytes` for one token a byte; `auto` for the one that the weights were trained with: as
            their file says, else that of the configuration; `bytes` with random weights.
        config: of the text encoder.
        untrained: whether the weights are random.
        origin: what the weights' file says of itself.

    Raises:
        TokenizerError: the files cannot be read or downloaded, or are those of another vocabulary.
    """
    encode = named_encoder(tokenizer_name(name, usual=config.tokenizer, untrained=untrained, origin=origin), BERT)
    return Tokenizer(
        lambda expression: encode(clean_expression(expression)),
        vocab_size=config.vocab_size,
        max_tokens=config.max_tokens,
        pad=BERT.pad,
        truncate=True,
    )


class FramePreprocessor:
    """Resizes, normalises and pads frames."""

    def __init__(self, config: ImageConfig) -> None:
        self.config = config
        self.resize_rule = ResizeShortestEdge([config.short_side, config.short_side], config.long_side_limit)

    def network_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) after resizing of a frame of `size` (H, W), before padding."""
        height, width = size
        rule = self.resize_rule
        return rule.get_output_shape(height, width, self.config.short_side, self.config.long_side_limit)

    def resize(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resize uint8 [H, W, 3] RGB by the short side (bilinear, antialiased, rounded to uint8)."""
        return self.resize_rule.get_transform(frame).apply_image(frame)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Resized RGB [..., 3, h, w] in 0..255 to float32 [..., 3, H, W], padded with zeros to multiples of 32."""
        mean, std = (constant(values, pixels.device)[:, None, None] for values in (self.config.mean, self.config.std))
        normalised = (pixels.float() - mean) / std
        height, width = pixels.shape[-2:]
        return functional.pad(normalised, (0, -width % SIZE_DIVISIBILITY, 0, -height % SIZE_DIVISIBILITY))

    def __call__(self, frame: npt.NDArray[np.uint8]) -> Tensor:
        """A frame uint8 [H, W, 3] RGB of any size, resized: uint8 [3, h, w].

        Raises:
            InputError: the frame is no such array.
        """
        if not isinstance(frame, np.ndarray):
            raise InputError(f"a frame must be an array uint8 [H, W, 3], found {type(frame).__name__}")
        if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8 or 0 in frame.shape:
            raise InputError(f"a frame must be an array uint8 [H, W, 3], found {frame.dtype} {list(frame.shape)}")
        return as_pixels(self.resize(frame))


def as_pixels(frame: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 [H, W, 3] to a tensor uint8 [3, H, W]."""
    return torch.tensor(frame).permute(2, 0, 1)
