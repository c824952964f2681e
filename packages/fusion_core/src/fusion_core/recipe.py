"""Recipes as data: which run is voted from which, and how.

A recipe is a list of nodes in the order in which they can be made; a node is named after the run that it writes. Plain
Python data without numpy, so that the command line can read it before anything heavy is imported.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from fusion_core.errors import RecipeError


class Pairing(StrEnum):
    """Which expressions of a video pool their votes; docs/recipe.md explains the four and what they cost."""

    CONSECUTIVE = "consecutive"
    GROUPS = "groups"
    NONE = "none"
    AGREEMENT = "agreement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """A run that is voted, pixel by pixel, from the masks of other runs.

    Attributes:
        name: the run it writes.
        members: the runs that vote. The first one also lends its expressions, scores and key frames.
        threshold: votes that make a pixel foreground when `out_of` votes are cast. A pool of expressions that casts
            another number of votes needs the same share of them, rounded up.
        out_of: see `threshold`; the published rules count votes of a pair, so it is twice the number of members.
        leftover: what becomes of the expression that stays without a partner because their number is odd: `first`
            takes the first member's own mask, a number is the votes needed out of one per member, None the share above.
        leftover_takes_support: the published script mistakes the first member's probabilities for logits when it
            makes the leftover's mask, so that every pixel above zero counts. Only a faithful vote repeats this.
    """

    name: str
    members: tuple[str, ...]
    threshold: int
    out_of: int
    leftover: int | Literal["first"] | None = None
    leftover_takes_support: bool = False

    def __post_init__(self) -> None:
        if not self.members:
            raise RecipeError(f"vote {self.name!r}: no members; a vote needs at least one run")
        if not 1 <= self.threshold <= self.out_of:
            raise RecipeError(
                f"vote {self.name!r}: the threshold must lie between 1 and the {self.out_of} votes that"
                f" {len(self.members)} members cast, not {self.threshold}"
            )
        if isinstance(self.leftover, int) and not 1 <= self.leftover <= len(self.members):
            raise RecipeError(
                f"vote {self.name!r}: the leftover's threshold must lie between 1 and the {len(self.members)} votes"
                f" that one expression gets, not {self.leftover}"
            )
        if self.leftover_takes_support and self.leftover != "first":
            raise RecipeError(f"vote {self.name!r}: leftover_takes_support needs leftover 'first'")

    def needed(self, votes: int) -> int:
        """Votes that make a pixel foreground when a pool casts `votes` of them."""
        return -(-votes * self.threshold // self.out_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Nodes in the order in which they can be made, in stages that the command line can ask for.

    Attributes:
        name: how users call it.
        stages: the votes of each stage; a vote may use the runs of all votes before it.
    """

    name: str
    stages: tuple[tuple[Vote, ...], ...]

    def __post_init__(self) -> None:
        nodes = [vote for stage in self.stages for vote in stage]
        repeated = [name for name, times in Counter(vote.name for vote in nodes).items() if times > 1]
        if repeated:
            raise RecipeError(f"recipe {self.name!r}: two nodes write the run {repeated[0]!r}")
        later = {vote.name for vote in nodes}
        for vote in nodes:
            too_early = [member for member in vote.members if member in later]
            if too_early:
                raise RecipeError(
                    f"recipe {self.name!r}: {vote.name!r} needs {too_early[0]!r}, which is not made before it"
                )
            later.remove(vote.name)

    def stage(self, number: int) -> tuple[Vote, ...]:
        """The votes of stage `number`, counted from 1."""
        if not 1 <= number <= len(self.stages):
            raise RecipeError(f"recipe {self.name!r} has stages 1 to {len(self.stages)}, not {number}")
        return self.stages[number - 1]


# The winning entry of the RVOS track at ICCV 2023: thresholds, members and their order as in the scripts
# soc_test/test_swap_{1,2}.py and test_ensemble_{1,2}.py of RobertLuo1/iccv2023_RVOS_Challenge at c538b0d.
ICCV2023 = Recipe(
    name="iccv2023",
    stages=(
        (
            Vote(
                name="soc_mutr_referft",
                members=("soc", "mutr", "referformer"),
                threshold=3,
                out_of=6,
                leftover="first",
            ),
            Vote(
                name="vit_convnext_soc",
                members=("vit_huge", "convnext", "soc"),
                threshold=3,
                out_of=6,
                leftover="first",
                leftover_takes_support=True,
            ),
        ),
        (
            Vote(
                name="en2",
                members=("soc_mutr_referft_aot", "soc_aot", "mutr_aot", "referformer_aot"),
                threshold=4,
                out_of=8,
                leftover=3,
            ),
            Vote(
                name="final",
                members=("vit_convnext_soc_deaot", "vit_huge_deaot", "en2", "referformer_deaot"),
                threshold=4,
                out_of=8,
                leftover=3,
            ),
        ),
    ),
)
