"""Samples from all sources in a random order that a seed fixes, made into batches.

Every sample is drawn from (seed, epoch, place) alone, so it is the same whoever reads it, in whatever order, and a
training that is resumed goes on with the very samples that would have come.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from mask_interchange import MaskInterchangeError
from rvos_layers.errors import RVOSLayersError
from torch.utils.data import Dataset

from rvos_training.data.batches import Batch, Request, Tokenize, collate, requests_of
from rvos_training.data.clips import ClipSource
from rvos_training.data.transforms import Sample, Transform
from rvos_training.errors import TrainingError

EXPECTED = (TrainingError, MaskInterchangeError, RVOSLayersError)


class TrainingData(Dataset[Batch | Exception]):
    """All samples of an epoch. What is wrong with a file is handed out in place of the batch, to be raised outside.

    Args:
        sources: joined one after the other, as they are.
        transform: makes a sample of a clip.
        tokenizer: of the sentences.
        seed: fixes order and everything drawn.
        multiple: batches are padded to this many pixels, at the bottom and the right.
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
            raise TrainingError("there is nothing to train on: no clip of the data set shows the object of a sentence")

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def requests(self, epoch: int, batch: int, process: int = 0, processes: int = 1) -> list[Request]:
        """One epoch's batches of one process. All processes get equally many samples; some come twice for that."""
        return requests_of(len(self), self.seed, epoch, batch, process, processes)

    def sample(self, epoch: int, place: int) -> Sample:
        """The sample at a place of the joined sources, as it is in an epoch."""
        random = np.random.default_rng((self.seed, epoch, place))
        number = bisect_right(self._ends, place)
        source = self.sources[number]
        return self.transform(source.clip(place - (self._ends[number] - len(source)), random), random)

    def __getitem__(self, request: Request) -> Batch | Exception:
        try:
            return collate(
                [self.sample(request.epoch, place) for place in request.places], self.tokenizer, self.multiple
            )
        except EXPECTED as error:
            return error
