"""Recipes as data: who predicts, what is propagated, which run is voted from which, and how.

A recipe is a graph of nodes. A node is named after the run that it writes. This is plain Python data, so that the
command line can read it before anything slow is imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import ClassVar, Literal

from mask_interchange.errors import DataNameError
from mask_interchange.names import check_name, file_key
from program_kit.errors import WeightsError
from program_kit.weights import check_weights

from fusion_core.errors import RecipeError

OptionValue = str | int | float | bool
Options = Mapping[str, OptionValue]

MAX_MEMORY = 2**20  # GiB; more is a mistake
OWN_WEIGHTS = "own"  # the program finds its weights by itself and is started without an option


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
class Model:
    """A program with its configuration and weights; one worker loads one model.

    Attributes:
        name: what nodes, and options such as `--checkpoint NAME=PATH`, call it.
        program: command line of a program that follows the worker protocol (docs/mask_format.md). Its first word is a
            program of this workspace, one on the PATH, or a path.
        options: the program's options; see `option_arguments`.
        checkpoint: weights file, or folder for a program that reads one.
        weights: instead: `own` for a program that finds its weights without an option, or what the option `--weights`
            of programs takes: names of published weights, `hub:OWNER/NAME@COMMIT`, `bundled`, `random:SEED`.
        memory: main memory that one worker needs, in GiB; limits the number of workers.
    """

    kind: ClassVar = "model"
    name: str
    program: tuple[str, ...]
    options: Options = field(default_factory=dict)
    checkpoint: Path | None = None
    weights: str | None = None
    memory: float = 6.0

    def __post_init__(self) -> None:
        _check_name(self.kind, self.name)
        if not self.program or not all(self.program):
            raise RecipeError(f"model {self.name!r}: the program's command line is empty", ("model", self.name))
        if self.checkpoint is not None and self.weights is not None:
            raise RecipeError(
                f"model {self.name!r}: has a checkpoint and other weights; give one of the two",
                ("model", self.name, "weights"),
            )
        if self.weights not in (None, OWN_WEIGHTS):
            try:
                check_weights(self.weights)
            except WeightsError as error:
                message = f"model {self.name!r}: {error}; or {OWN_WEIGHTS!r}"
                raise RecipeError(message, ("model", self.name, "weights")) from error
        if not 0 < self.memory < MAX_MEMORY:
            raise RecipeError(
                f"model {self.name!r}: memory must be a positive number of GiB below {MAX_MEMORY}, not {self.memory:g}",
                ("model", self.name, "memory"),
            )


def option_arguments(options: Options) -> list[str]:
    """Options as a command line: `short_side=432` is `--short-side 432`, true is `--name`, false is `--no-name`."""
    arguments: list[str] = []
    for name, value in options.items():
        dashed = name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{dashed}" if value else f"--no-{dashed}")
        else:
            arguments += [f"--{dashed}", str(value)]
    return arguments


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
        _check_name(self.kind, self.name)

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
        _check_name(self.kind, self.name)

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
    """

    kind: ClassVar = "vote"
    name: str
    members: tuple[str, ...]
    threshold: int
    out_of: int
    leftover: int | Literal["first"] | None = None
    leftover_takes_support: bool = False
    pairing: Pairing = None  # pyright: ignore[reportAssignmentType] - until __post_init__

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairing", self.pairing or Pairing.default(self.leftover))
        _check_name(self.kind, self.name)
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
    def inputs(self) -> tuple[str, ...]:
        """The runs it reads."""
        return self.members

    def votes_needed(self, cast: int, *, leftover: bool) -> int:
        """Votes that make a pixel foreground in a pool that casts `cast` of them; `leftover`: it has no partner."""
        if leftover and isinstance(self.leftover, int):
            return self.leftover
        return -(-cast * self.threshold // self.out_of)

    def corrected(self) -> "Vote":
        """The same vote without the published mistake."""
        return replace(self, leftover_takes_support=False)


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
        _check_name(self.kind, self.name)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The runs it reads: none."""
        return ()


Node = Predict | Propagate | Vote | ExistingRun


@dataclass(frozen=True, kw_only=True)
class AblationStep:
    """One row of the table that shows what each part of a recipe adds.

    Attributes:
        label: what was added.
        runs: the runs with this much of the recipe; the row shows the best of them.
        published: published J&F in percent, by run.
    """

    label: str
    runs: tuple[str, ...]
    published: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.runs:
            raise RecipeError(f"ablation {self.label!r}: names no run", ("ablation", self.label))


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A graph of nodes without cycles.

    Attributes:
        name: how users call it.
        result: the run that the recipe is for.
        nodes: in an order in which they can be made.
        models: what the nodes load.
        ablation: rows of its table, may be empty.
        faithful: repeat the published mistake in votes with `leftover_takes_support`; see `carried_out`.
    """

    name: str
    result: str
    nodes: tuple[Node, ...]
    models: tuple[Model, ...] = ()
    ablation: tuple[AblationStep, ...] = ()
    faithful: bool = False

    def __post_init__(self) -> None:
        self._check_names()
        for node in self.nodes:
            self._check_node(node)
        if self.result not in self._nodes:
            raise RecipeError(f"recipe {self.name!r}: the result {self.result!r} is not one of its runs", ("result",))
        for step in self.ablation:
            for run in (*step.runs, *step.published):
                if run not in self._nodes:
                    message = f"ablation {step.label!r}: {run!r} is not a run of the recipe"
                    raise RecipeError(f"recipe {self.name!r}: {message}", ("ablation", step.label))
        object.__setattr__(self, "nodes", self._in_order())

    @cached_property
    def _nodes(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _models(self) -> dict[str, Model]:
        return {model.name: model for model in self.models}

    def node(self, name: str) -> Node:
        """The node that writes the run `name`."""
        return self._nodes[name]

    def model(self, node: Predict | Propagate) -> Model:
        """What a node loads."""
        return self._models[node.model]

    def carried_out(self, vote: Vote) -> Vote:
        """A vote of the recipe as it is carried out: only a faithful recipe repeats the published mistake."""
        return vote if self.faithful else vote.corrected()

    def round(self, node: Node) -> int:
        """How many propagations, one after the other, lead to the node's run at most."""
        return self._rounds[node.name]

    @cached_property
    def _rounds(self) -> dict[str, int]:
        rounds: dict[str, int] = {}
        for node in self.nodes:  # each after its inputs
            rounds[node.name] = max((rounds[name] for name in node.inputs), default=0) + isinstance(node, Propagate)
        return rounds

    @cached_property
    def stages(self) -> tuple[tuple[Vote, ...], ...]:
        """The votes, grouped by the number of propagations before them; the published recipe has two stages."""
        votes = [node for node in self.nodes if isinstance(node, Vote)]
        rounds = sorted({self.round(vote) for vote in votes})
        return tuple(tuple(vote for vote in votes if self.round(vote) == number) for number in rounds)

    def stage(self, number: int) -> tuple[Vote, ...]:
        """The votes of stage `number`, counted from 1."""
        if not 1 <= number <= len(self.stages):
            raise RecipeError(f"recipe {self.name!r} has stages 1 to {len(self.stages)}, not {number}")
        return self.stages[number - 1]

    def _check_names(self) -> None:
        seen: dict[tuple[bool, str], str] = {}
        for one in (*self.models, *self.nodes):
            is_model = isinstance(one, Model)
            if twin := seen.get((is_model, file_key(one.name))):
                what = "models are called" if is_model else "nodes write the run"
                which = repr(one.name) if twin == one.name else f"{twin!r} and {one.name!r}, one name on some systems"
                raise RecipeError(f"recipe {self.name!r}: two {what} {which}", (one.kind, one.name))
            seen[is_model, file_key(one.name)] = one.name

    def _check_node(self, node: Node) -> None:
        for name in node.inputs:
            if name not in self._nodes:
                key = "members" if isinstance(node, Vote) else "source"
                raise RecipeError(
                    f"recipe {self.name!r}: {node.name!r} needs the run {name!r}, which no node makes",
                    (node.kind, node.name, key),
                )
        if isinstance(node, Predict | Propagate) and node.model not in self._models:
            raise RecipeError(
                f"recipe {self.name!r}: {node.name!r} needs the model {node.model!r}, but there are only"
                f" {', '.join(map(repr, self._models)) or 'no models'}",
                (node.kind, node.name, "model"),
            )

    def _in_order(self) -> tuple[Node, ...]:
        try:
            order = TopologicalSorter({node.name: node.inputs for node in self.nodes}).static_order()
            return tuple(self._nodes[name] for name in order)
        except CycleError as error:
            cycle = error.args[1]
            node = self._nodes[cycle[-1]]
            raise RecipeError(
                f"recipe {self.name!r}: nodes wait for each other: {' -> '.join(reversed(cycle))}",
                (node.kind, node.name),
            ) from error


def _check_name(kind: str, name: str) -> None:
    try:
        check_name(kind, name)
    except DataNameError as error:
        raise RecipeError(str(error), (kind, name)) from error
