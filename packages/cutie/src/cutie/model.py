"""The whole network. It handles frames, not videos.

image ── encoder ──┬── keys ── memory ── what is remembered of each pixel ── fusion ── object transformer ──┐
                   ├── pixel features ──────────────────────────────────────────┘                           │
                   └── decoder skips ────────────────────────────────────────────── decoder ── logits ──────┘
image and masks ── mask encoder ──┬── memory values
                                  ├── object summaries
                                  └── sensory memory
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutie.competition import compete, rivals
from cutie.config import STRIDE, NetworkConfig
from cutie.decoder import Decoder, DecoderSkips
from cutie.encoder import FrameKeys, KeyProjection, ResNetEncoder
from cutie.fusion import ObjectFusion
from cutie.mask_encoder import MaskEncoder
from cutie.object_memory import ObjectSummarizer, ObjectSummary
from cutie.object_transformer import ObjectTransformer

CHUNK = 16  # objects that go at once through the parts that work at high resolution


class FrameFeatures(NamedTuple):
    """Everything about one frame that does not depend on masks; shared by all objects.

    Attributes:
        image: normalised, float32 [1, 3, H, W].
        pixels: features [1, C, h, w] at stride 16.
        keys: of its pixels.
        skips: the decoder's image part.
    """

    image: Tensor
    pixels: Tensor
    keys: FrameKeys
    skips: DecoderSkips

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) at stride 16."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in (self.image, self.pixels, *self.keys, *self.skips))


class MemorizedFrame(NamedTuple):
    """What is remembered of a frame with known masks.

    Attributes:
        values: of every pixel for the memory, [N, C, h, w].
        summary: of every object.
        sensory: float32 [N, C, h, w].
    """

    values: Tensor
    summary: ObjectSummary
    sensory: Tensor


class SegmentedObjects(NamedTuple):
    """A frame segmented from memory.

    Attributes:
        probabilities: for every job float32 [n + 1, H, W], background first.
        sensory: float32 [N, C, h, w].
    """

    probabilities: list[Tensor]
    sensory: Tensor


class Cutie(nn.Module):
    """Cutie; its methods are the stages, there is no single forward pass."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config = config
        dim, deepest = config.dim, config.image_encoder.channels[-1]
        self.encoder = ResNetEncoder(config.image_encoder)
        self.pixels = nn.Conv2d(deepest, dim, kernel_size=1)
        self.keys = KeyProjection(deepest, dim, config.key_dim)
        self.mask_encoder = MaskEncoder(config)
        self.summarizer = ObjectSummarizer(dim, config.queries)
        self.sensory_readout = nn.Conv2d(dim + 2, dim, kernel_size=1)
        self.fusion = ObjectFusion(dim, dim, dim)
        self.object_transformer = ObjectTransformer(config)
        self.decoder = Decoder(config)

    def forward(self, *_: Any):
        """Not used: call `encode`, `memorize` and `segment`."""
        raise NotImplementedError("call encode, memorize or segment")

    def encode(self, image: Tensor) -> FrameFeatures:
        """All that depends on a normalised image [1, 3, H, W] alone; its sides are multiples of 16."""
        maps = self.encoder(image.to(self.pixels.weight.dtype))
        return FrameFeatures(image, self.pixels(maps.s16), self.keys(maps.s16), self.decoder.prepare(maps))

    def empty_sensory(self, features: FrameFeatures, objects: int) -> Tensor:
        """The sensory memory float32 [N, C, h, w] before the first frame."""
        return torch.zeros(objects, self.config.dim, *features.size, device=features.image.device)

    def memorize(
        self, features: FrameFeatures, masks: Tensor, sensory: Tensor, counts: Sequence[int]
    ) -> MemorizedFrame:
        """What is to be remembered of a frame.

        Args:
            features: of the frame.
            masks: probability of each object, float32 [N, H, W].
            sensory: float32 [N, C, h, w].
            counts: objects of each job, N together.
        """

        def encode(*parts: Tensor) -> tuple[Tensor, Tensor]:
            return self.mask_encoder(features.image, features.pixels, *parts)

        values, sensory = _in_chunks(encode, masks, rivals(masks, counts), sensory)
        return MemorizedFrame(values, self.summarizer(values, _at_tokens(masks)), sensory)

    def fuse(
        self, features: FrameFeatures, read: Tensor, masks: Tensor, sensory: Tensor, counts: Sequence[int]
    ) -> Tensor:
        """Pixels [N, C, h, w] of each object: what the frame, the memories and the last masks say of them.

        Args:
            features: of the frame.
            read: from the memory, float32 [N, C, h, w].
            masks: of the frame before, float32 [N, H, W].
            sensory: float32 [N, C, h, w].
            counts: objects of each job, N together.
        """
        last = _at_tokens(masks)
        state = torch.cat([sensory, torch.stack([last, rivals(last, counts)], dim=1)], dim=1)
        own = features.pixels.dtype
        return self.fusion(features.pixels, read.to(own) + self.sensory_readout(state.to(own)))

    def segment(
        self,
        features: FrameFeatures,
        read: Tensor,
        masks: Tensor,
        sensory: Tensor,
        summary: ObjectSummary,
        counts: Sequence[int],
    ) -> SegmentedObjects:
        """Segment a frame from memory; arguments as those of `fuse`, and the objects' summaries."""
        pixels = self.fuse(features, read, masks, sensory, counts)
        pixels = self.object_transformer(pixels, summary.mean, counts)

        def decode(*parts: Tensor) -> tuple[Tensor, Tensor]:
            return self.decoder(parts[0], features.skips, parts[1])

        logits, sensory = _in_chunks(decode, pixels, sensory)
        competing = compete(logits.sigmoid(), counts)
        return SegmentedObjects([_enlarged(own).softmax(dim=0) for own in competing], sensory)


def _in_chunks(function: Callable[..., tuple[Tensor, ...]], *parts: Tensor) -> tuple[Tensor, ...]:
    """A function of batches, some objects at a time."""
    chunks = zip(*(part.split(CHUNK) for part in parts), strict=True)
    return tuple(torch.cat(found) for found in zip(*(function(*chunk) for chunk in chunks), strict=True))


def _at_tokens(masks: Tensor) -> Tensor:
    """Masks [N, H, W] to the share of every token that they cover [N, h, w]."""
    return F.avg_pool2d(masks[:, None], STRIDE)[:, 0]


def _enlarged(logits: Tensor) -> Tensor:
    return F.interpolate(logits[None], scale_factor=4, mode="bilinear", align_corners=False)[0]
