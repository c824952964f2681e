"""Features of frames, computed once and kept as long as the memory for them lasts."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from aot_deaot.network import FrameFeatures


class FeatureCache:
    """Least-recently-used features within a budget of bytes; what was dropped is computed again when needed.

    A sweep through a video forwards and back touches the newest frames first on its way back, so that dropping the
    oldest use is also the best choice.

    Attributes:
        computed: how many features were computed so far.
    """

    def __init__(self, budget: int):
        self.budget = budget
        self.computed = 0
        self._kept: OrderedDict[Hashable, FrameFeatures] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable, compute: Callable[[], FrameFeatures]) -> FrameFeatures:
        """The features of `key`, from the cache or from `compute`."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        features = compute()
        self.computed += 1
        self._kept[key] = features
        self._bytes += features.nbytes
        while self._bytes > self.budget:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes
        return features
