"""Views of a video's frames and their features: reads suit the file, features are cached.

Views of one size go through the encoder together, on a GPU those of several frames. A thread reads and resizes the
frames that come next while the network works.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from program_kit.frame_reading import FeatureCache
from program_kit.prepared_frames import PreparedFrames
from program_kit.propagator import Frames
from torch import Tensor

from aot_deaot.config import NetworkConfig
from aot_deaot.network import FrameFeatures
from aot_deaot.preprocess import network_image, network_labels, network_size
from aot_deaot.settings import PropagationSettings, augmentations

Images = Mapping[tuple[int, int], Tensor]  # of one frame, float32 [1, 3, h, w] by size


class FrameViews:
    """One video as the network sees it: every frame in every augmentation, features from the cache where possible.

    Args:
        video: its frames are read when they are needed.
        settings: say which augmentations there are.
        config: of the network.
        cache_bytes: budget for features.
        encode: features of images float32 [B, 3, h, w].
        frames_at_once: how many frames of the largest size (h, w) may go through `encode` together.
    """

    def __init__(
        self,
        video: Frames,
        settings: PropagationSettings,
        config: NetworkConfig,
        cache_bytes: int,
        encode: Callable[[Tensor], FrameFeatures],
        frames_at_once: Callable[[tuple[int, int]], int],
    ):
        self.video = video
        self.all = augmentations(settings.scales, settings.flip)
        self.sizes = [network_size(video.size, v.scale, settings.limits, config.align_corners) for v in self.all]
        self.cache: FeatureCache[FrameFeatures] = FeatureCache(cache_bytes)
        self._encode = encode
        self._at_once = frames_at_once(max(self.sizes))
        self._frame_bytes = 0  # of all features of a frame, once they are known
        self._encoded: dict[tuple[int, int], FrameFeatures] = {}  # ahead of their use: by frame and view
        self.images: PreparedFrames[Images] = PreparedFrames(video, self._images)

    def sweep(self, order: Sequence[int]) -> Iterator[tuple[int, Callable[[int], FrameFeatures]]]:
        """The frames of an order, each with a function that gives the features of a view, by its place.

        Frames whose features are cached are not read.
        """
        for place, frame in enumerate(order):
            yield frame, partial(self._features, order[place:])
            self.images.drop(frame)

    def _features(self, coming: Sequence[int], view: int) -> FrameFeatures:
        """Of the first of the frames that come."""
        key = coming[0], view

        def compute() -> FrameFeatures:
            if key not in self._encoded:
                self._encode_some(coming, view)
            return self._encoded.pop(key)

        return self.cache.get(key, compute)

    def _encode_some(self, coming: Sequence[int], view: int) -> None:
        """Encode the views of one size: of the first frame and, as far as there is room, of those after it."""
        size = self.sizes[view]
        alike = [v for v, other in enumerate(self.sizes) if other == size]
        missing = ((frame, [v for v in alike if self._is_missing(frame, v)]) for frame in coming)
        group = list(islice(((frame, views) for frame, views in missing if views), self._group()))
        self.images.request((*(frame for frame, _ in group), *self._reading_ahead(coming)))
        images = [self.images.get(frame)[size] for frame, _ in group]
        flipped = [
            image.flip(-1) if self.all[v].mirrored else image
            for image, (_, views) in zip(images, group, strict=True)
            for v in views
        ]
        keys = [(frame, v) for frame, views in group for v in views]
        encoded = self._encode(torch.cat(flipped)).split()
        self._frame_bytes = max(self._frame_bytes, len(self.all) * encoded[0].nbytes)
        self._encoded.update(zip(keys, encoded, strict=True))

    def _is_missing(self, frame: int, view: int) -> bool:
        return (frame, view) not in self.cache and (frame, view) not in self._encoded

    def _group(self) -> int:
        """How many frames to encode together: what is ahead of its use stays within the budget of the cache."""
        if self._at_once == 1 or not self._frame_bytes:
            return 1
        return max(1, min(self._at_once, self.cache.budget // self._frame_bytes))

    def _reading_ahead(self, coming: Sequence[int]) -> Iterator[int]:
        """The frames of a group, and as many after it."""
        missing = (frame for frame in coming if any(self._is_missing(frame, v) for v in range(len(self.all))))
        return islice(missing, 2 * self._group())

    def _images(self, frame: NDArray[np.uint8]) -> Images:
        return {size: network_image(frame, size) for size in set(self.sizes)}

    def labels(self, labels: Tensor, view: int) -> Tensor:
        """Id maps [B, H, W] as a view sees them, [B, h, w]."""
        return network_labels(labels, self.sizes[view], self.all[view].mirrored)
