"""In which order samples come: fixed by a seed, the same whoever reads them."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Request:
    """Which samples make a batch: places in what there is to train on, in one epoch."""

    epoch: int
    places: tuple[int, ...]


def requests_of(samples: int, seed: int, epoch: int, batch: int, process: int, processes: int) -> list[Request]:
    """One epoch's batches of one process. All processes get equally many samples; some come twice for that."""
    order = np.random.default_rng((seed, epoch)).permutation(samples)
    order = np.resize(order, -(-len(order) // processes) * processes)[process::processes]
    return [Request(epoch, tuple(order[i : i + batch].tolist())) for i in range(0, len(order), batch)]
