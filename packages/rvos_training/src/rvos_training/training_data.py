"""Samples from all sources in a random order that a seed fixes, made into batches.

Every sample is drawn from (seed, epoch, place) alone, so it is the same whoever reads it, in whatever order, and a
training that is resumed goes on with the very samples that would have come.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from mask_interchange import MaskInterchangeError
from rvos_layers.errors import RVOSLayersError
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset

from rvos_training.clips import ClipSource
from rvos_training.errors import TrainingError
from rvos_training.learner import Batch
from rvos_training.sample_order import Request, requests_of
from rvos_training.targets import Targets
from rvos_training.transforms import Sample, Transform

Tokenize = Callable[[Sequence[str]], Any]  # sentences to what the network takes as tokens, movable by `to(device)`
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


def collate(samples: Sequence[Sample], tokenizer: Tokenize, multiple: int = 1) -> Batch:
    """One batch of samples of any sizes, padded to the largest."""
    sizes = torch.tensor([sample.masks.shape[1:] for sample in samples])
    height, width = (-(-int(side) // multiple) * multiple for side in sizes.amax(0))

    def grown(x: Tensor, value: float = 0) -> Tensor:
        return pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=value)

    padding = torch.stack([grown(torch.zeros_like(sample.masks), True) for sample in samples])
    return Batch(
        frames=torch.stack([grown(sample.frames) for sample in samples]),
        padding_mask=padding if padding.any() else None,
        tokens=tokenizer([sample.text for sample in samples]),
        targets=Targets(
            boxes=torch.stack([sample.boxes for sample in samples]),
            masks=torch.stack([grown(sample.masks) for sample in samples]),
            visible=torch.stack([sample.visible for sample in samples]),
        ),
        names=tuple(sample.name for sample in samples),
    )
