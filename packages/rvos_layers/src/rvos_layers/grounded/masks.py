"""From object queries to masks, as in ReferFormer and MUTR: the pixel decoder and a query's own small convolutions.

The pixel decoder makes mask features that listen to the words. Source: `models/segmentation.py` of both (equal). A
feature pyramid, coarse to fine, in which every level first lets all frames of the clip talk to each other on a
thinned-out grid, then listens to the words, then takes up the level above.

Only that talk joins frames, so everything else is done for a few questions at a time and the finest level, by far
the largest, is handed out piece by piece. The talk of the finest level sees no text and is done once per video
(`prepare`).

Masks are drawn only for the queries asked for, and while the mask features of a few frames exist; nobody holds those
of a whole video. Training does hold those of its short clips, as the queries of every decoder layer are drawn on them.

Shapes: n questions (a frame and a sentence each) or B*T images, C channels, L words.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rvos_layers.blocks.attention import Attention, AttentionLayer, FeedForward, keys_to_see
from rvos_layers.blocks.dynamic_masks import DynamicMaskHead
from rvos_layers.blocks.heads import FoundQueries, mask_controller
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import PixelGrid, Questions, VideoFeatures
from rvos_layers.frame_groups import gather, groups, map_frames
from rvos_layers.grounded.config import GroundedConfig

HEADS = 8
NORM_GROUPS = 8
THINNING = (8, 4, 2, 1)  # of the grid on which frames talk, for strides 4, 8, 16 and 32
CELLS_AT_ONCE = 2**15  # bounds the hidden layer of the feed-forward part


class FrameTalk(nn.Module):
    """Self-attention over all cells of all frames of a clip, on a thinned-out grid, with residual and norm."""

    def __init__(self, channels: int, thinning: int, dropout: float) -> None:
        super().__init__()
        self.thinning = thinning
        self.attention = Attention(channels, HEADS, dropout)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, position: Tensor, padding: Tensor | None, frames: int) -> Tensor:
        """Map [n, C, h, w] to the same shape (to the same memory when no gradient is asked for).

        Args:
            position: [1 or n, C, h, w].
            padding: bool[n, h, w] or None.
            frames: T; each run of T images talks among itself.
        """
        height, width = x.shape[2:]
        thin = (height // self.thinning, width // self.thinning)
        values = self._join_frames(functional.interpolate(x, thin), frames)
        places = functional.interpolate(position, thin).expand(len(x), -1, -1, -1)
        queries = values + self._join_frames(places, frames)
        hidden = (
            None
            if padding is None
            else functional.interpolate(padding[:, None].float(), thin).bool().reshape(len(values), -1)
        )
        said = self.attention(queries, queries, values, keys_to_see(hidden))
        said = said.reshape(len(x), *thin, -1).permute(0, 3, 1, 2)
        parts = groups(len(x), cells_fit(height * width))
        if torch.is_grad_enabled():
            return torch.cat([self._take_in(x[some], said[some]) for some in parts])
        for some in parts:
            x[some] = self._take_in(x[some], said[some])
        return x

    @staticmethod
    def _join_frames(x: Tensor, frames: int) -> Tensor:
        """[n, C, h, w] to tokens [n/T, T*h*w, C]."""
        return x.permute(0, 2, 3, 1).reshape(len(x) // frames, -1, x.shape[1])

    def _take_in(self, x: Tensor, said: Tensor) -> Tensor:
        heard = functional.interpolate(said, x.shape[2:], mode="bilinear", align_corners=False)
        return self.norm((x + self.dropout(heard)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class WordReading(nn.Module):
    """Attention of every cell to the words, then feed-forward."""

    def __init__(self, channels: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.attention = AttentionLayer(channels, HEADS, dropout)
        self.feedforward = FeedForward(channels, feedforward, dropout)

    def forward(self, x: Tensor, position: Tensor, text: TextFeatures) -> Tensor:
        """Map [n, C, h, w] to the same shape; `position` [1 or n, C, h, w], `text` of n sentences."""
        cells = self.attention(
            x.flatten(2).transpose(1, 2),
            text.words,
            position=position.flatten(2).transpose(1, 2),
            memory_position=text.word_positions,
            mask=keys_to_see(text.padding_mask),
        )
        return self.feedforward(cells).transpose(1, 2).unflatten(2, x.shape[2:])


class CrossModalDecoder(nn.Module):
    """Stride-4 mask features from the stride-4 backbone map, the encoder's memory and the words.

    Args:
        fine_channels: width of the stride-4 backbone map.
        channels: C.
        mask_channels: width of the mask features.
        feedforward: hidden width after reading words.
        dropout: probability, in training.
    """

    def __init__(self, fine_channels: int, channels: int, mask_channels: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        widths = (fine_channels, channels, channels, channels)  # fine to coarse, as everything below
        self.adapters = nn.ModuleList(_normed(nn.Conv2d(width, channels, 1, bias=False)) for width in widths)
        self.talks = nn.ModuleList(FrameTalk(channels, thinning, dropout) for thinning in THINNING)
        self.readings = nn.ModuleList(WordReading(channels, feedforward, dropout) for _ in widths)
        self.smoothings = nn.ModuleList(
            _normed(nn.Conv2d(channels, channels, 3, padding=1, bias=False)).append(nn.ReLU()) for _ in widths
        )
        self.output = nn.Conv2d(channels, mask_channels, 3, padding=1)
        self._initialise()

    def prepare(self, fine: Tensor, grid: PixelGrid, frames: int) -> Tensor:
        """Text-independent half of the finest level: backbone map [B*T, C', h, w] to [B*T, C, h, w]."""
        return self._talk(0, fine, grid.position, grid.padding, frames)

    def forward(
        self, video: VideoFeatures, text: TextFeatures, memory: list[Tensor]
    ) -> Iterator[tuple[Questions, Tensor]]:
        """Yield maps [n, C, h, w] of a few questions after the other; `output` makes mask features of them.

        Args:
            video: with `fine` made by `prepare`.
            text: E sentences.
            memory: encoder output [E*T, C, h, w] for strides 8, 16 and 32.
        """
        questions = Questions.all(video, text)
        above = None
        for level in (3, 2, 1):
            grid = video.grids[level]
            padding = None if grid.padding is None else questions.about(grid.padding)
            talked = self._talk(level, memory[level - 1], questions.about(grid.position), padding, video.frames)
            parts = (y for _, y in self._read(level, talked, above, questions, video, text))
            above = gather(parts, len(questions.numbers))
        yield from self._read(0, video.fine, above, questions, video, text)

    def _talk(self, level: int, x: Tensor, position: Tensor, padding: Tensor | None, frames: int) -> Tensor:
        adapted = map_frames(self.adapters[level], x, cells_fit(x.shape[2] * x.shape[3]))
        return self.talks[level](adapted, position, padding, frames)

    def _read(
        self,
        level: int,
        talked: Tensor,
        above: Tensor | None,
        questions: Questions,
        video: VideoFeatures,
        text: TextFeatures,
    ) -> Iterator[tuple[Questions, Tensor]]:
        for some in questions.split(cells_fit(talked.shape[2] * talked.shape[3])):
            x = some.about(talked)
            x = self.readings[level](x, some.about(video.grids[level].position), some.asking(text))
            if above is not None:
                x = x + functional.interpolate(some.about(above), x.shape[2:])
            yield some, self.smoothings[level](x)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
        assert self.output.bias is not None
        nn.init.zeros_(self.output.bias)
        for module in (*self.talks, *self.readings):
            for parameter in module.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)


def cells_fit(cells: int) -> int:
    """How many maps of `cells` cells to work on at once."""
    return max(1, CELLS_AT_ONCE // cells)


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.GroupNorm(NORM_GROUPS, convolution.out_channels))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundedFindings(FoundQueries):
    """Found queries, and what the pixel decoder needs of the encoder.

    Attributes:
        memory: encoder output [E*T, C, h, w] for strides 8, 16 and 32.
    """

    memory: list[Tensor]


class MaskBranch(nn.Module):
    """Pixel decoder, controller and dynamic mask head."""

    def __init__(self, config: GroundedConfig) -> None:
        super().__init__()
        channels = config.transformer.channels
        self.decoder = CrossModalDecoder(
            config.backbone.stage_channels[0],
            channels,
            config.mask_channels,
            config.transformer.feedforward,
            config.transformer.dropout,
        )
        self.head = DynamicMaskHead(
            feature_channels=config.mask_channels,
            hidden_channels=config.dynamic_channels,
            layers=config.dynamic_layers,
        )
        self.controller = mask_controller(channels, self.head.parameter_count)

    def forward(self, video: VideoFeatures, text: TextFeatures, found: GroundedFindings) -> Tensor:
        """Draw the masks of all queries in `found`.

        Returns:
            mask logits [E, T, Q, h, w] at stride 4.
        """
        states, centres = found.by_question(video.sizes)
        masks = [
            self.head(maps, self.controller(states[some.numbers]), centres[some.numbers], made_by=self.decoder.output)
            for some, maps in self.decoder(video, text, found.memory)
        ]
        return torch.cat(masks).unflatten(0, found.states.shape[:2])

    def features(self, video: VideoFeatures, text: TextFeatures, memory: list[Tensor]) -> Tensor:
        """Mask features [E*T, F, h, w] of all frames at once, for those who draw on them again and again (training)."""
        return torch.cat([self.decoder.output(maps) for _, maps in self.decoder(video, text, memory)])

    def draw_on(self, features: Tensor, video: VideoFeatures, found: FoundQueries) -> Tensor:
        """As `forward`, on mask features that are there already."""
        states, centres = found.by_question(video.sizes)
        return self.head(features, self.controller(states), centres).unflatten(0, found.states.shape[:2])
