"""The nodes of a recipe: who predicts, what is propagated, which run is made from which others, and how.

A node is named after the run that it writes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

from mask_interchange.errors import DataNameError
from mask_interchange.names import check_name

from fusion_core.errors import RecipeError

__all__ = ["Choose", "ExistingRun", "Gate", "Pairing", "Predict", "Propagate", "Rescore", "Vote"]

OptionValue = str | int | float | bool
VoteRule = Literal["count", "mean"]
Options = Mapping[str, OptionValue]


class Pairing(StrEnum):
    """Which expressions of a video pool their votes; docs/recipe.md explains all five."""

    AUTO = "auto"
    CONSECUTIVE = "consecutive"
    GROUPS = "groups"
    NONE = "none"
    AGREEMENT = "agreement"

    @classmethod
    def default(cls, leftover: object) -> "Pairing":
        """The rule where none is chosen: `auto`; `consecutive` if there is a rule for what pairs leave over."""
        return cls.AUTO if leftover is None else cls.CONSECUTIVE

    def votes_cast(self, members: int) -> int:
        """Votes out of which a threshold counts if nothing else is said: two a member, or one under `none`."""
        return members * (1 if self is Pairing.NONE else 2)


@dataclass(frozen=True, kw_only=True)
class Predict:
    """A run that a model makes from frames and expressions.

    Attributes:
        name: the run it writes.
        model: name of the model.
        options: of the program, beside the model's.
    """

    kind: ClassVar = "predict"
    name: str
    model: str
    options: Options = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_recipe_name(self.kind, self.name)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The runs it reads: none."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Propagate:
    """A run made from another run's key frames, whose masks are carried both ways through the video.

    Attributes:
        name: the run it writes.
        model: name of the model.
        source: the run whose key frames are propagated.
        options: of the program, beside the model's.
    """

    kind: ClassVar = "propagate"
    name: str
    model: str
    source: str
    options: Options = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_recipe_name(self.kind, self.name)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The run it reads."""
        return (self.source,)


@dataclass(frozen=True, kw_only=True)
class Vote:
    """A run that is voted, pixel by pixel, from the masks of other runs.

    Everything about a vote that changes masks is one of these fields. Manifest, resume and report read them.

    Attributes:
        name: the run it writes.
        members: the runs that vote. The result has the expressions, scores and key frames of the first one.
        threshold: votes that make a pixel foreground if `out_of` votes are cast. A pool of expressions that casts
            another number of votes needs the same share of them, rounded up.
        out_of: see `threshold`. The published rules count the votes of a pair, so it is twice the number of members.
        leftover: the mask of an expression without a partner, because their number is odd: `first` takes the first
            member's own mask; a number is the votes needed out of one per member; None is the share above. Only
            `consecutive` and `agreement` leave an expression over.
        leftover_takes_support: with leftover `first`, take every pixel whose probability is above zero. The published
            script does so, because it takes probabilities for logits. See `Recipe.faithful`.
        pairing: which expressions pool their votes; by default see `Pairing.default`.
        rule: what is counted: `count`, masks; `mean`, stored probabilities (soft masks), whose mean must reach the same
            share.
    """

    kind: ClassVar = "vote"
    name: str
    members: tuple[str, ...]
    threshold: int
    out_of: int
    leftover: int | Literal["first"] | None = None
    leftover_takes_support: bool = False
    pairing: Pairing = None  # pyright: ignore[reportAssignmentType] - until __post_init__
    rule: VoteRule = "count"

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairing", self.pairing or Pairing.default(self.leftover))
        check_recipe_name(self.kind, self.name)
        if not self.members:
            raise self._fault("members", "no members; a vote needs at least one run")
        if not 1 <= self.threshold <= self.out_of:
            raise self._fault(
                "threshold",
                f"the threshold must lie between 1 and the {self.out_of} votes that"
                f" {len(self.members)} members cast, not {self.threshold}",
            )
        if isinstance(self.leftover, int) and not 1 <= self.leftover <= len(self.members):
            raise self._fault(
                "leftover",
                f"the leftover's threshold must lie between 1 and the {len(self.members)} votes"
                f" that one expression gets, not {self.leftover}",
            )
        if self.leftover_takes_support and self.leftover != "first":
            raise self._fault("leftover_takes_support", "leftover_takes_support needs leftover 'first'")

    def _fault(self, key: str, message: str) -> RecipeError:
        return RecipeError(f"vote {self.name!r}: {message}", (self.kind, self.name, key))

    @property
    def words(self) -> str:
        """The rule in a few words."""
        amount = f"{self.threshold} of {self.out_of}"
        return amount if self.rule == "count" else f"{self.rule} of {amount}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The runs it reads."""
        return self.members

    def share(self, *, leftover: bool) -> Fraction:
        """The share of votes that makes a pixel foreground; `leftover`: the expression has no partner."""
        if leftover and isinstance(self.leftover, int):
            return Fraction(self.leftover, len(self.members))
        return Fraction(self.threshold, self.out_of)

    def votes_needed(self, cast: int, *, leftover: bool) -> int:
        """Votes that make a pixel foreground in a pool that casts `cast` of them."""
        return math.ceil(cast * self.share(leftover=leftover))

    def corrected(self) -> "Vote":
        """The same vote without the published mistake."""
        return replace(self, leftover_takes_support=False)


@dataclass(frozen=True, kw_only=True)
class Choose:
    """A run that takes each expression's whole track from one of several runs: the one that the judges agree with most.

    A judge's masks are compared with a candidate's by intersection over union, all frames together. The candidate with
    the largest mean is taken, the first one on ties. A candidate does not judge itself.

    Attributes:
        name: the run it writes.
        members: the candidates. The result has the expressions of the first one.
        judges: the runs that decide; empty for the candidates themselves, of which there must be three then.
    """

    kind: ClassVar = "choose"
    name: str
    members: tuple[str, ...]
    judges: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_recipe_name(self.kind, self.name)
        if len(self.members) < 2 or len(set(self.members)) < len(self.members):
            raise RecipeError(f"choose {self.name!r}: expected two or more different members", (self.kind, self.name))
        outside = set(self.judges) - set(self.members)
        if not outside and (len(self.members) == 2 or not all(map(self.judges_of, self.members))):
            raise RecipeError(
                f"choose {self.name!r}: these judges cannot decide, because a member does not judge itself, and two"
                " members agree with each other equally; name other runs as judges",
                (self.kind, self.name, "judges"),
            )

    def judges_of(self, member: str) -> tuple[str, ...]:
        """The runs that judge a candidate."""
        return tuple(judge for judge in self.judges or self.members if judge != member)

    @property
    def words(self) -> str:
        """The rule in a few words."""
        return f"one of {len(self.members)}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The runs it reads."""
        return tuple(dict.fromkeys((*self.members, *self.judges)))


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A run with the tracks of another one, without masks where an expression's best score is below a limit.

    Attributes:
        name: the run it writes.
        source: the run whose tracks are taken.
        threshold: an expression keeps its masks if the largest of its scores is at least this.
        scores: the run whose scores count; the source by default.
    """

    kind: ClassVar = "gate"
    name: str
    source: str
    threshold: float
    scores: str | None = None

    def __post_init__(self) -> None:
        check_recipe_name(self.kind, self.name)
        if not math.isfinite(self.threshold):
            raise RecipeError(
                f"gate {self.name!r}: the threshold must be a number, not {self.threshold}",
                (self.kind, self.name, "threshold"),
            )

    @property
    def words(self) -> str:
        """The rule in a few words."""
        return f"score at least {self.threshold:g}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The runs it reads."""
        return tuple(dict.fromkeys((self.source, self.scores or self.source)))


@dataclass(frozen=True, kw_only=True)
class Rescore:
    """A run with the masks of another one and new scores, hence other key frames.

    The score of a frame is the mean intersection over union of the source's mask with the judges' masks, and 0 where
    the source has no mask. The key frame is the one with the largest score; of several, the one nearest to the middle
    of the video, from which masks are carried least far.

    Attributes:
        name: the run it writes.
        source: the run whose masks are taken.
        judges: the runs that its masks are compared with.
    """

    kind: ClassVar = "rescore"
    name: str
    source: str
    judges: tuple[str, ...]

    def __post_init__(self) -> None:
        check_recipe_name(self.kind, self.name)
        if not self.judges or self.source in self.judges:
            raise RecipeError(
                f"rescore {self.name!r}: expected one or more judges other than the source",
                (self.kind, self.name, "judges"),
            )

    @property
    def words(self) -> str:
        """The rule in a few words."""
        return f"by {', '.join(self.judges)}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The runs it reads."""
        return tuple(dict.fromkeys((self.source, *self.judges)))


@dataclass(frozen=True, kw_only=True)
class ExistingRun:
    """A run that exists already, whoever made it.

    Attributes:
        name: what other nodes call it.
        path: its folder.
    """

    kind: ClassVar = "run"
    name: str
    path: Path

    def __post_init__(self) -> None:
        check_recipe_name(self.kind, self.name)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The runs it reads: none."""
        return ()


FusionNode = Vote | Choose | Gate | Rescore  # made here from other runs, without a program
Node = Predict | Propagate | FusionNode | ExistingRun


def key_of_input(node: Node, name: str) -> str:
    """The key of a node that names one of its inputs."""
    values = {key: getattr(node, key, ()) for key in ("source", "scores", "members", "judges")}
    return next(key for key, value in values.items() if value == name or (isinstance(value, tuple) and name in value))


def check_recipe_name(kind: str, name: str) -> None:
    """Raises RecipeError if a model or node cannot be called `name`."""
    try:
        check_name(kind, name)
    except DataNameError as error:
        raise RecipeError(str(error), (kind, name)) from error
