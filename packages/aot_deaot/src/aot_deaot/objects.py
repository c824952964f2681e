"""Object ids, their numbers, and the sets in which a network holds them.

Three numberings meet here. An *id* is what the user's mask says and is permanent (any value, gaps allowed). A *number*
is 1 to n in the order of the ids, background 0. A *slot* is a number's place in its object set: a network has
`max_objects` slots, so that more objects need several sets, which see the same frames and are merged after decoding.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from program_kit.errors import InputError
from torch import Tensor

MOST_SLOTS = 255  # id maps are uint8
CLAMP = 1e-5  # least distance of merged probabilities from 0 and 1


@dataclass(frozen=True, slots=True)
class ObjectTable:
    """The objects of one job.

    Attributes:
        ids: permanent ids, ascending, none of them 0.
        slots: how many objects one set holds.
    """

    ids: tuple[int, ...]
    slots: int

    def __post_init__(self):
        if self.sets * self.slots > MOST_SLOTS:
            most = MOST_SLOTS // self.slots * self.slots
            raise InputError(f"the mask has {len(self.ids)} objects, at most {most} can be propagated together")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sets(self) -> int:
        """How many object sets the objects fill; at least 1."""
        return max(1, -(-len(self.ids) // self.slots))

    def held(self, index: int) -> int:
        """How many objects set `index` holds."""
        return min(len(self.ids) - index * self.slots, self.slots)

    def number_of(self, object_id: int) -> int:
        """The number of an id; an id that is not in the table is a ValueError."""
        return 1 + self.ids.index(object_id)

    def number(self, labels: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Ids to numbers; an id that is not in the table is an InputError."""
        known = np.array([0, *self.ids])
        place = np.searchsorted(known, labels).clip(max=len(known) - 1)
        strange = labels[known[place] != labels]
        if strange.size:
            raise InputError(f"the mask has object id {strange.flat[0]}, known ids are {list(self.ids)}")
        return place.astype(np.uint8)

    def split(self, numbers: Tensor) -> Tensor:
        """Numbers [H, W] to the slots of every set [sets, H, W]; other sets' objects count as background."""
        first = torch.arange(self.sets, device=numbers.device)[:, None, None] * self.slots
        slots = numbers.long() - first
        return torch.where((slots >= 1) & (slots <= self.slots), slots, 0)

    def merge(self, logits: Tensor, *, all_slots: bool) -> Tensor:
        """The sets' logits as one.

        Sets are joined as `soft_logit_aggregation` of the published engine does: background where every set says so.

        Args:
            logits: float [sets, slots + 1, H, W].
            all_slots: let slots compete that hold no object.

        Returns:
            Float [n + 1, H, W]; channels are numbers. With `all_slots`, or several sets, there is one for every slot.
        """
        if self.sets == 1:
            return logits[0] if all_slots else logits[0, : len(self) + 1]
        background, objects = torch.ones_like(logits[0, :1]), []
        for index, own in enumerate(logits):
            active = self.slots if all_slots else self.held(index)
            probabilities = own[: active + 1].softmax(dim=0)
            background = background * probabilities[:1]
            objects += [probabilities[1:], torch.zeros_like(own[active + 1 :])]
        return torch.cat([background, *objects]).clamp(CLAMP, 1 - CLAMP).logit()
