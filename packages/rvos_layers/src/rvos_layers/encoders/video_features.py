"""What a model computes from a video alone, and the pairs of a frame and an expression that come after it.

Everything visual that does not depend on text is computed once (`VideoFeatures`) and serves all expressions about the
video. After it, a model works on `FrameTextPairs`.

Shapes: B clips of T frames, E expressions, n pairs, C channels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from rvos_layers.encoders.config import BackboneConfig, ResNetConfig, VideoSwinConfig
from rvos_layers.encoders.positions import sine_encoding_2d
from rvos_layers.encoders.pyramid import PyramidProjection, resize_padding
from rvos_layers.encoders.resnet import ResNet
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_swin import VideoSwin
from rvos_layers.errors import RVOSLayersError


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """Position and padding of the cells of a feature map.

    Attributes:
        position: sine encodings [1 or B*T, C, h, w].
        padding_mask: bool[B*T, h, w], True where padded; None when nothing is.
    """

    position: Tensor
    padding_mask: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFeatures:
    """Text-independent features of B clips.

    Attributes:
        fine: [B*T, ...] what the model's mask branch needs of the stride-4 map; its form is the model's own.
        levels: [B*T, C, h, w] for strides 8, 16, 32 and 64.
        grids: for strides 4, 8, 16, 32 and 64.
        sizes: float32[B, 2], (width, height) of the clips without their padding, in pixels.
        frames: T.
    """

    fine: Tensor
    levels: list[Tensor]
    grids: list[PixelGrid]
    sizes: Tensor
    frames: int

    @property
    def clips(self) -> int:
        """B."""
        return len(self.sizes)


class VideoEncoder(nn.Module):
    """Backbone, projections and position encodings.

    Args:
        backbone: its sizes.
        hidden_size: C.
        min_side: shortest side of the frames that it takes, in pixels.
    """

    def __init__(self, backbone: BackboneConfig, hidden_size: int, min_side: int = 1) -> None:
        super().__init__()
        self.min_side = min_side
        self.hidden_size = hidden_size
        self.backbone = build_backbone(backbone)
        self.projection = PyramidProjection(backbone.stage_channels[1:], hidden_size)

    def forward(
        self,
        frames: Tensor,
        padding_mask: Tensor | None,
        prepare_fine: Callable[[Tensor, PixelGrid, int], Tensor],
        *,
        encode_padding: bool = True,
    ) -> VideoFeatures:
        """Encode.

        Args:
            frames: float32[B, T, 3, H, W], normalised; they take on the type of the weights.
            padding_mask: bool[B, T, H, W], True where padded; None when nothing is.
            prepare_fine: makes `VideoFeatures.fine` from the stride-4 map [B*T, C', h, w], its grid and T.
            encode_padding: whether padded pixels keep their position encodings (see `sine_encoding_2d`); otherwise
                these are 0.

        Raises:
            RVOSLayersError: a side is shorter than `min_side`.
        """
        clips, length, _, height, width = frames.shape
        if min(height, width) < self.min_side:
            raise RVOSLayersError(
                f"frames of {width}x{height} pixels (width x height) are too small for the network: both sides must "
                f"have at least {self.min_side} pixels after resizing; choose a larger short side"
            )
        padding = None if padding_mask is None else padding_mask.flatten(0, 1)
        stages = self.backbone.iter_stages(frames.to(self.projection.dtype))
        stage = next(stages).flatten(0, 1)
        grids = [self._grid(stage, padding, encode_padding)]
        fine = prepare_fine(stage, grids[0], length)
        del stage  # the largest map of all is no longer needed
        levels = self.projection([stage.flatten(0, 1) for stage in stages])
        grids += [self._grid(level, padding, encode_padding) for level in levels]
        size = [frames.new_full((clips,), side) for side in (width, height)]  # a GPU waits for numbers that it is sent
        sizes = _unpadded_sizes(padding_mask, torch.stack(size, 1))
        return VideoFeatures(fine=fine, levels=levels, grids=grids, sizes=sizes, frames=length)

    def _grid(self, level: Tensor, padding: Tensor | None, encode_padding: bool) -> PixelGrid:
        height, width = level.shape[2:]
        if padding is None:
            nothing = torch.zeros(1, height, width, dtype=torch.bool, device=level.device)
            return PixelGrid(sine_encoding_2d(nothing, self.hidden_size).to(level.dtype), None)
        padding = resize_padding(padding, (height, width))
        position = sine_encoding_2d(padding, self.hidden_size).to(level.dtype)
        return PixelGrid(position if encode_padding else position.masked_fill(padding[:, None], 0), padding)


def build_backbone(config: BackboneConfig) -> VideoSwin | ResNet:
    """A network whose `iter_stages(frames)` yields maps of strides 4, 8, 16 and 32."""
    match config:
        case VideoSwinConfig():
            return VideoSwin(config)
        case ResNetConfig():
            return ResNet(config)


def _unpadded_sizes(padding_mask: Tensor | None, sizes: Tensor) -> Tensor:
    if padding_mask is None:
        return sizes
    valid = ~padding_mask[:, 0]
    return torch.stack((valid[:, 0].sum(1), valid[:, :, 0].sum(1)), dim=1).to(sizes)


@dataclass(frozen=True, slots=True)
class FrameTextPairs:
    """Pairs of a frame and an expression, ordered by expression, then frame.

    In inference all expressions are about one clip; in training each is about a clip of its own.

    Attributes:
        indices: int64[n], expression * T + frame.
        frames: T.
    """

    indices: Tensor
    frames: int

    @classmethod
    def all(cls, video: VideoFeatures, text: TextFeatures) -> Self:
        """Every expression with every frame of its clip."""
        if video.clips not in (1, len(text)):
            raise ValueError(f"{len(text)} expressions cannot be paired with {video.clips} clips")
        return cls(torch.arange(len(text) * video.frames, device=video.fine.device), video.frames)

    def split(self, size: int) -> Iterator[Self]:
        """Consecutive parts of at most `size` pairs."""
        for indices in self.indices.split(size):
            yield type(self)(indices, self.frames)

    def of_frames(self, maps: Tensor) -> Tensor:
        """The map of each pair's frame: [B*T or 1, ...] to [n, ...]; a single map serves all pairs."""
        if len(maps) == 1:
            return maps.expand(len(self.indices), *maps.shape[1:])
        return maps[self.indices % len(maps)]

    def of_text(self, text: TextFeatures) -> TextFeatures:
        """The features of each pair's expression."""
        return text[self.indices // self.frames]
