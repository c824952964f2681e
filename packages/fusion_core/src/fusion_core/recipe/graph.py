"""A recipe as data: a graph of nodes, the models that they load, and the rows of its table of results.

This is plain Python data, so that the command line can read it before anything slow is imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import ClassVar, Self

from mask_interchange.names import file_key
from program_kit.errors import WeightsError
from program_kit.options import Precision
from program_kit.weights import check_weights

from fusion_core.errors import RecipeError
from fusion_core.recipe.nodes import (
    FusionNode,
    Node,
    Options,
    Predict,
    Propagate,
    Vote,
    check_recipe_name,
    key_of_input,
)

__all__ = ["AblationStep", "Model", "Recipe"]

MAX_MEMORY = 2**20  # GiB; more is a mistake
OWN_WEIGHTS = "own"  # the program finds its weights by itself and is started without an option


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
        frame_memory: MiB that a program needs for every frame, if it takes the whole video as one clip and can
            cut it into windows; 0 for one whose memory does not grow with a video.
    """

    kind: ClassVar = "model"
    name: str
    program: tuple[str, ...]
    options: Options = field(default_factory=dict)
    checkpoint: Path | None = None
    weights: str | None = None
    memory: float = 6.0
    frame_memory: float = 0.0

    def __post_init__(self) -> None:
        check_recipe_name(self.kind, self.name)
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
        if not 0 <= self.frame_memory < MAX_MEMORY:
            raise RecipeError(
                f"model {self.name!r}: frame_memory must be a number of MiB from 0 to {MAX_MEMORY}, not "
                f"{self.frame_memory:g}",
                ("model", self.name, "frame_memory"),
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

    def in_precision(self, precision: Precision) -> Self:
        """The recipe with `precision` for all models whose options name none."""
        models = (replace(model, options={"precision": precision, **model.options}) for model in self.models)
        return replace(self, models=tuple(models))

    def carried_out(self, node: FusionNode) -> FusionNode:
        """A node as it is carried out: only votes of a faithful recipe repeat the published mistake."""
        return node.corrected() if isinstance(node, Vote) and not self.faithful else node

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
                raise RecipeError(
                    f"recipe {self.name!r}: {node.name!r} needs the run {name!r}, which no node makes",
                    (node.kind, node.name, key_of_input(node, name)),
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
