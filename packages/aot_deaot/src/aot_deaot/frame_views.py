"""Views of a video's frames and their features: reads suit the file, features are cached."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from program_kit.errors import InputError
from program_kit.propagation import Frames
from torch import Tensor

from aot_deaot.config import NetworkConfig
from aot_deaot.network import FrameFeatures
from aot_deaot.preprocess import network_image, network_labels, network_size
from aot_deaot.settings import Augmentation, PropagationSettings, augmentations

SKIPPED = 16  # most frames that a pass decodes in vain; past that a new pass begins


class FeatureCache:
    """Features within a budget of bytes, least recently used first out; dropped ones are computed again when needed.

    The sweep back begins at the frames that the sweep forwards ended with, so the least recently used are needed last.

    Args:
        budget: bytes.
    """

    def __init__(self, budget: int):
        self.budget = budget
        self._kept: OrderedDict[Hashable, FrameFeatures] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, compute: Callable[[], FrameFeatures]) -> FrameFeatures:
        """The features of `key`, from the cache or from `compute`."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        features = compute()
        self._kept[key] = features
        self._bytes += features.nbytes
        while self._bytes > self.budget:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes
        return features


class FrameViews:
    """One video as the network sees it: every frame in every augmentation, features from the cache where possible.

    Args:
        video: its frames are read when they are needed.
        settings: say which augmentations there are.
        config: of the network.
        cache_bytes: budget for features.
        encode: features of an image float32 [1, 3, h, w].

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
        self.cache = FeatureCache(cache_bytes)
        self._encode = encode
        self._pass: Iterator[NDArray[np.uint8]] = iter(())
        self._next = len(video)  # frame that the pass gives next
        self._last = -1  # frame that was read last

    def frame(self, index: int) -> Callable[[int], FrameFeatures]:
        """A function that gives the features of a view, by its place; the frame is read only if some are not cached."""
        read: list[NDArray[np.uint8]] = []

        def compute(view: int) -> FrameFeatures:
            if not read:
                read.append(self._read(index))
            image = network_image(read[0], self.sizes[view])
            return self._encode(image.flip(-1) if self.all[view].mirrored else image)

        return lambda view: self.cache.get((index, view), lambda: compute(view))

    def _read(self, index: int) -> NDArray[np.uint8]:
        """A frame. Consecutive frames come from one pass over the video, since random access is slow in a file."""
        forwards, self._last = index == self._last + 1, index
        if not self._next <= index <= self._next + SKIPPED:
            if not forwards:
                return self.video.read_frame(index)
            self._next, self._pass = index, self.video.frames(index)
        image = next(islice(self._pass, index - self._next, None), None)
        self._next = index + 1
        if image is None:
            raise InputError(f"the video has {len(self.video)} frames by its own count, but ends before frame {index}")
        return image

    def labels(self, labels: Tensor, view: int) -> Tensor:
        """Id maps [B, H, W] as a view sees them, [B, h, w]."""
        return network_labels(labels, self.sizes[view], self.all[view].mirrored)
