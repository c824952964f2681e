"""What a model knows of a video before it reads a sentence, and which sentence is asked about which frame.

Everything visual that does not depend on the text is computed once (`VideoFeatures`) and serves every sentence
about the video. Behind it a model works on `Questions`: one frame and one sentence each.

Shapes: B clips of T frames, E sentences, C channels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from rvos_layers.encoders.config import BackboneConfig, ResNetConfig, VideoSwinConfig
from rvos_layers.encoders.positions import sine_code_2d
from rvos_layers.encoders.pyramid import PyramidProjection, resize_padding
from rvos_layers.encoders.resnet import ResNet
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_swin import VideoSwin
from rvos_layers.errors import RVOSLayersError


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """What is known about the cells of a feature map.

    Attributes:
        position: sine codes [1 or B*T, C, h, w].
        padding: bool[B*T, h, w], True where padded; None when nothing is.
    """

    position: Tensor
    padding: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFeatures:
    """Text-independent features of B clips.

    Attributes:
        fine: [B*T, ...] what the model keeps of the stride-4 map, in a form of its own.
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
    """Backbone, projections and position codes.

    Args:
        backbone: which one.
        channels: C.
        shortest_side: of the frames it takes, in pixels.
    """

    def __init__(self, backbone: BackboneConfig, channels: int, shortest_side: int = 1) -> None:
        super().__init__()
        self.shortest_side = shortest_side
        self.channels = channels
        self.backbone = build_backbone(backbone)
        self.projection = PyramidProjection(backbone.stage_channels[1:], channels)

    def forward(
        self,
        frames: Tensor,
        padding_mask: Tensor | None,
        prepare: Callable[[Tensor, PixelGrid, int], Tensor],
        *,
        code_padding: bool = True,
    ) -> VideoFeatures:
        """Encode.

        Args:
            frames: float32[B, T, 3, H, W], normalised.
            padding_mask: bool[B, T, H, W], True where padded; None when nothing is.
            prepare: makes `VideoFeatures.fine` of the stride-4 map [B*T, C', h, w], its grid and T.
            code_padding: padded pixels have position codes too, wild ones (see `sine_code_2d`); without, theirs are 0.

        Raises:
            RVOSLayersError: a side is shorter than `shortest_side`.
        """
        clips, length, _, height, width = frames.shape
        if min(height, width) < self.shortest_side:
            raise RVOSLayersError(
                f"frames of {width}x{height} pixels (width x height) are too small for the network: both sides must "
                f"have at least {self.shortest_side} pixels after resizing; choose a larger short side"
            )
        padding = None if padding_mask is None else padding_mask.flatten(0, 1)
        stages = self.backbone.stages_of(frames)
        stage = next(stages).flatten(0, 1)
        grids = [self._grid(stage, padding, code_padding)]
        fine = prepare(stage, grids[0], length)
        del stage  # the widest map of all; nobody needs it any more
        levels = self.projection([stage.flatten(0, 1) for stage in stages])
        grids += [self._grid(level, padding, code_padding) for level in levels]
        sizes = _unpadded_sizes(padding_mask, frames.new_tensor((width, height)).expand(clips, 2))
        return VideoFeatures(fine=fine, levels=levels, grids=grids, sizes=sizes, frames=length)

    def _grid(self, level: Tensor, padding: Tensor | None, code_padding: bool) -> PixelGrid:
        height, width = level.shape[2:]
        if padding is None:
            nothing = torch.zeros(1, height, width, dtype=torch.bool, device=level.device)
            return PixelGrid(sine_code_2d(nothing, self.channels), None)
        padding = resize_padding(padding, (height, width))
        position = sine_code_2d(padding, self.channels)
        return PixelGrid(position if code_padding else position.masked_fill(padding[:, None], 0), padding)


def build_backbone(config: BackboneConfig) -> VideoSwin | ResNet:
    """A network whose `stages_of(frames)` yields maps of strides 4, 8, 16 and 32."""
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
class Questions:
    """Pairs of a frame and a sentence, ordered by sentence, then frame.

    All sentences ask about one clip (inference), or each about a clip of its own (training).

    Attributes:
        numbers: int64[n], sentence * T + frame.
        frames: T.
    """

    numbers: Tensor
    frames: int

    @classmethod
    def all(cls, video: VideoFeatures, text: TextFeatures) -> Self:
        """Every frame with every sentence that asks about it."""
        if video.clips not in (1, len(text)):
            raise ValueError(f"{len(text)} sentences cannot be paired with {video.clips} clips")
        return cls(torch.arange(len(text) * video.frames, device=video.fine.device), video.frames)

    def split(self, size: int) -> Iterator[Self]:
        """Consecutive parts of at most `size` questions."""
        for numbers in self.numbers.split(size):
            yield type(self)(numbers, self.frames)

    def about(self, images: Tensor) -> Tensor:
        """The images asked about: [B*T or 1, ...] to [n, ...]; a single one is the same for all."""
        if len(images) == 1:
            return images.expand(len(self.numbers), *images.shape[1:])
        return images[self.numbers % len(images)]

    def asking(self, text: TextFeatures) -> TextFeatures:
        """The sentences that ask, one for each of the n questions."""
        return text[self.numbers // self.frames]
