"""Samples of all sources in a random order that a seed fixes, made into batches.

A sample depends on (seed, epoch, index) alone: it is the same whichever process reads it, and a resumed training gets
the samples that would have come.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from mask_interchange import MaskInterchangeError
from rvos_layers.errors import RVOSLayersError
from torch.utils.data import Dataset

from rvos_training.data.batches import Batch, BatchIndices, Tokenize, collate, epoch_batches
from rvos_training.data.clips import ClipSource
from rvos_training.data.transforms import Sample, Transform
from rvos_training.errors import TrainingError

EXPECTED = (TrainingError, MaskInterchangeError, RVOSLayersError)


class TrainingData(Dataset[Batch | Exception]):
    """Everything to train on. An unreadable file gives an error in place of the batch, which the trainer raises.

    Args:
        sources: clips; the samples are those of the first source, then those of the second, and so on.
        transform: makes a sample of a clip.
        tokenizer: of the expressions.
        seed: fixes the order and all that is random.
        multiple: height and width of a batch's frames are multiples of this many pixels.

    Raises:
        TrainingError: there are no samples.
    """

    def __init__(
        self,
        sources: Sequence[ClipSource],
        transform: Transform,
        tokenizer: Tokenize,
        seed: int,
        multiple: int = 1,
    ) -> None:
        self.sources = sources
        self.transform = transform
        self.tokenizer = tokenizer
        self.seed = seed
        self.multiple = multiple
        self._ends = list(accumulate(len(source) for source in sources))
        if not len(self):
            raise TrainingError("there is nothing to train on: no clip shows the object of its expression")

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def batches(self, epoch: int, batch_size: int, process: int = 0, processes: int = 1) -> list[BatchIndices]:
        """The batches of one process in one epoch; see `epoch_batches`."""
        return epoch_batches(len(self), self.seed, epoch, batch_size, process, processes)

    def sample(self, epoch: int, index: int) -> Sample:
        """A sample as it is in an epoch."""
        random = np.random.default_rng((self.seed, epoch, index))
        number = bisect_right(self._ends, index)
        source = self.sources[number]
        return self.transform(source.clip(index - (self._ends[number] - len(source)), random), random)

    def __getitem__(self, batch: BatchIndices) -> Batch | Exception:
        try:
            return collate([self.sample(batch.epoch, index) for index in batch.indices], self.tokenizer, self.multiple)
        except EXPECTED as error:
            return error
