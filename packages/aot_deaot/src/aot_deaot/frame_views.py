"""Views of a video's frames and their features: reads suit the file, features are cached.

Views of one size go through the encoder together.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from program_kit.frame_reading import FeatureCache, FrameReader
from program_kit.propagator import Frames
from torch import Tensor

from aot_deaot.config import NetworkConfig
from aot_deaot.network import FrameFeatures
from aot_deaot.preprocess import network_image, network_labels, network_size
from aot_deaot.settings import Augmentation, PropagationSettings, augmentations


class FrameViews:
    """One video as the network sees it: every frame in every augmentation, features from the cache where possible.

    Args:
        video: its frames are read when they are needed.
        settings: say which augmentations there are.
        config: of the network.
        cache_bytes: budget for features.
        encode: features of images float32 [B, 3, h, w].

    Attributes:
        all: the augmentations; a view is named by its place here.
        sizes: (h, w) of each view.
    """

    def __init__(
        self,
        video: Frames,
        settings: PropagationSettings,
        config: NetworkConfig,
        cache_bytes: int,
        encode: Callable[[Tensor], FrameFeatures],
    ):
        self.video = video
        self.all: tuple[Augmentation, ...] = augmentations(settings.scales, settings.flip)
        self.sizes = [network_size(video.size, v.scale, settings.limits, config.align_corners) for v in self.all]
        self.cache: FeatureCache[FrameFeatures] = FeatureCache(cache_bytes)
        self._encode = encode
        self._reader = FrameReader(video)

    def frame(self, index: int) -> Callable[[int], FrameFeatures]:
        """A function that gives the features of a view, by its place; the frame is read only if some are not cached."""
        read: list[NDArray[np.uint8]] = []
        encoded: dict[int, FrameFeatures] = {}

        def compute(view: int) -> FrameFeatures:
            if view not in encoded:
                if not read:
                    read.append(self._reader.read(index))
                image = network_image(read[0], self.sizes[view])
                alike = [v for v, size in enumerate(self.sizes) if size == self.sizes[view]]
                missing = [v for v in alike if (index, v) not in self.cache]
                images = torch.cat([image.flip(-1) if self.all[v].mirrored else image for v in missing])
                encoded.update(zip(missing, self._encode(images).split(), strict=True))
            return encoded.pop(view)

        return lambda view: self.cache.get((index, view), lambda: compute(view))

    def labels(self, labels: Tensor, view: int) -> Tensor:
        """Id maps [B, H, W] as a view sees them, [B, h, w]."""
        return network_labels(labels, self.sizes[view], self.all[view].mirrored)
