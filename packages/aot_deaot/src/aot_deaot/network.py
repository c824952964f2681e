"""The whole network: encoder, identity bank, propagation layers, decoder. It handles frames, not videos.

image ── encoder ──┬── projector ── layer 1 (image part) ──┐
                   └── decoder skips ──────────┐           ├── layers + memories ── readout ── decoder ── logits
id map ── identity bank ── memory entries ─────┼───────────┘
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from aot_deaot.attention import Entry
from aot_deaot.config import NetworkConfig
from aot_deaot.decoder import Decoder, DecoderSkips
from aot_deaot.encoder import EncoderMaps, MobileNetEncoder, build_encoder
from aot_deaot.gated_propagation import Branches, GatedPropagationLayer, GatedReadout
from aot_deaot.long_short_term import LongShortTermLayer, LongShortTermReadout


class FrameFeatures(NamedTuple):
    """Everything about one frame that does not depend on masks; shared by all object sets.

    Attributes:
        size: (h, w) of the stride-16 map.
        first: the first layer's features.
        skips: the decoder's image part.
    """

    size: tuple[int, int]
    first: Any
    skips: DecoderSkips

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in _tensors((self.first, self.skips)))

    def split(self) -> "list[FrameFeatures]":
        """Those of each image, if they are of several."""
        images = self.skips.s16.shape[0]
        return [FrameFeatures(self.size, _row(self.first, i), _row(self.skips, i)) for i in range(images)]


class PropagationLayer(Protocol):
    """What the layers of both families offer; each family has its own types of states and features."""

    def encode(self, state: Any, position: Tensor) -> Any:
        """The layer's features of a frame: what it computes before it reads any memory."""
        ...

    def memorize(self, features: Any, identity: Tensor) -> Entry:
        """The memory entry of a frame whose identities are known."""
        ...

    def read_memory(self, features: Any, long: Sequence[Entry], short: Entry, size: tuple[int, int]) -> Any:
        """The layer's output, from the frame's features and the memories."""
        ...


def _tensors(tree: Any):
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, tuple):
        for branch in tree:
            yield from _tensors(branch)


def _row(tree: Any, index: int) -> Any:
    """Row `index` of all tensors in nested tuples, as a batch of one; batches of one serve all rows."""
    if isinstance(tree, Tensor):
        return tree if tree.shape[0] == 1 else tree[index : index + 1]
    return tree if tree is None else type(tree)(*(_row(branch, index) for branch in tree))


class SegmentedFeatures(NamedTuple):
    """A frame segmented from the memories of B object sets.

    Attributes:
        logits: float [B, ids, H/4, W/4], background first.
        layer_features: those of every layer, to be memorized once the frame's identities are known.
    """

    logits: Tensor
    layer_features: list[Any]


class Reference(NamedTuple):
    """A frame whose identities are given.

    Attributes:
        entries: one memory entry for every layer.
        states: output of every layer; only training decodes them.
    """

    entries: list[Entry]
    states: list[Any]


@lru_cache(maxsize=16)
def sine_positions(height: int, width: int, hidden_size: int, device: torch.device) -> Tensor:
    """Sine codes float32 [height * width, hidden_size]: of rows, then of columns; coordinates scaled to [0, 2 pi]."""
    half = hidden_size // 2
    period = 10000 ** (torch.arange(half, device=device) // 2 * 2 / half)

    def codes(length: int) -> Tensor:
        place = torch.arange(length, device=device, dtype=torch.float32)
        angle = (place / (length - 1 + 1e-6) * (2 * math.pi))[:, None] / period
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=-1).flatten(1)

    down = codes(height)[:, None].expand(height, width, half)
    right = codes(width)[None].expand(height, width, half)
    return torch.cat([down, right], dim=-1).flatten(0, 1)


class PropagationNetwork(nn.Module):
    """AOT or DeAOT, as the config says; its methods are the stages, there is no single forward pass."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        hidden_size, ids = config.hidden_size, config.max_objects + 1
        self.encoder = build_encoder(config.encoder)
        channels = tuple(self.encoder.channels)
        deep = self.encoder.deep_channels if isinstance(self.encoder, MobileNetEncoder) else channels[-1]
        self.projector = nn.Conv2d(deep, hidden_size, kernel_size=1)
        # With aligned corners a network side is 16 n + 1 pixels and token centres lie 16 pixels apart from the first.
        kernel, padding = (17, 8) if config.align_corners else (16, 0)
        self.identity_bank = nn.Conv2d(ids, hidden_size, kernel_size=kernel, stride=config.stride, padding=padding)
        if config.family == "aot":
            self.identity_norm = nn.Identity()
            self.layers = nn.ModuleList(
                LongShortTermLayer(
                    hidden_size, config.num_heads, config.num_memory_heads, config.feedforward_dim, config.radius
                )
                for _ in range(config.layers)
            )
            self.readout = LongShortTermReadout(hidden_size, config.layers)
            image_dim, token_dim = hidden_size, hidden_size * config.layers
        else:
            self.identity_norm = nn.LayerNorm(hidden_size)
            self.layers = nn.ModuleList(
                GatedPropagationLayer(hidden_size, config.expansion, config.radius, first=index == 0)
                for index in range(config.layers)
            )
            self.readout = GatedReadout(hidden_size)
            image_dim, token_dim = 0, 2 * hidden_size
        self.decoder = Decoder(
            image_dim=image_dim,
            token_dim=token_dim,
            hidden_size=hidden_size,
            channels=channels,
            ids=ids,
            align_corners=config.align_corners,
        )

    def forward(self, *_: Any):
        """Not used: call `encode`, `embed_ids`, `memorize_reference`, `segment` and `memorize`."""
        raise NotImplementedError("call encode, embed_ids, memorize_reference, segment or memorize")

    def encode_maps(self, images: Tensor) -> tuple[EncoderMaps, Tensor]:
        """Encoder maps of normalised images [B, 3, H, W] and their projection [B, C, H/16, W/16]."""
        maps = self.encoder(images.to(self.projector.weight.dtype))
        return maps, self.projector(maps.deep)

    def encode(self, image: Tensor) -> FrameFeatures:
        """All that depends on normalised images [B, 3, H, W] alone."""
        maps, embedding = self.encode_maps(image)
        size = (embedding.shape[-2], embedding.shape[-1])
        tokens = embedding.flatten(2).mT
        start = tokens if self.config.family == "aot" else Branches(tokens, tokens.new_zeros(1, 1, 1))
        first = self._stack[0].encode(start, self._positions(size, tokens))
        return FrameFeatures(size, first, self.decoder.prepare(maps, embedding))

    def embed_ids(self, labels: Tensor) -> Tensor:
        """Identity embedding [B, L, C] of id maps [B, H, W] at network size; ids above `max_objects` are ignored."""
        ids = torch.arange(self.config.max_objects + 1, device=labels.device)
        planes = (labels[:, None] == ids[:, None, None]).to(self.identity_bank.weight.dtype)
        return self.identity_norm(self.identity_bank(planes).flatten(2).mT)

    def memorize_reference(self, features: FrameFeatures, identity: Tensor) -> Reference:
        """A frame whose identities [B, L, C] are given: each layer memorizes it and reads it as its only memory."""
        entries: list[Entry] = []

        def itself(index: int, layer_features: Any) -> tuple[list[Entry], Entry]:
            entries.append(self._stack[index].memorize(layer_features, identity))
            return [entries[-1]], entries[-1]

        states, _ = self._propagate(features, itself)
        return Reference(entries, states)

    def segment(
        self, features: FrameFeatures, long: Sequence[Sequence[Entry]], short: Sequence[Entry]
    ) -> SegmentedFeatures:
        """Segment a frame from memory.

        Args:
            features: of the frame.
            long: for every layer, the long-term memories of consecutive parts of the batch.
            short: for every layer, the earlier frame that the short-term attention sees, for the whole batch.
        """
        states, layer_features = self._propagate(features, lambda index, _: (long[index], short[index]))
        return SegmentedFeatures(self.decode(features, states), layer_features)

    def decode(self, features: FrameFeatures, states: Sequence[Any]) -> Tensor:
        """Logits [B, ids, H/4, W/4] of a frame from the outputs of all layers."""
        tokens = torch.cat(self.readout(states), dim=-1).mT.unflatten(-1, features.size)
        return self.decoder(tokens, features.skips)

    def memorize(self, layer_features: Sequence[Any], identity: Tensor) -> list[Entry]:
        """Memory entries, one for every layer, of a frame that was segmented and now has identities [B, L, C]."""
        return [layer.memorize(own, identity) for layer, own in zip(self._stack, layer_features, strict=True)]

    def _propagate(self, features: FrameFeatures, memories: Any) -> tuple[list[Any], list[Any]]:
        states, layer_features = [], []
        for index, layer in enumerate(self._stack):
            if index == 0:
                own = features.first
            else:
                previous = states[-1]
                own = layer.encode(previous, self._positions(features.size, previous))
            layer_features.append(own)
            long, short = memories(index, own)
            states.append(layer.read_memory(own, long, short, features.size))
        return states, layer_features

    @property
    def _stack(self) -> list[PropagationLayer]:
        return cast(list[PropagationLayer], list(self.layers))

    def _positions(self, size: tuple[int, int], like: Tensor | Branches) -> Tensor:
        tensor = like[0] if isinstance(like, tuple) else like
        return sine_positions(*size, self.config.hidden_size, tensor.device).to(tensor.dtype)


def resize_logits(logits: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Logits [B, ids, H/4, W/4] straight to the size of the video, float32 [B, ids, *size]."""
    return F.interpolate(logits.float(), size, mode="bilinear", align_corners=align_corners)
