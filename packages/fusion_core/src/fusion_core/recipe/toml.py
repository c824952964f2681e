"""Recipes of users, in TOML; docs/recipe.md describes every key."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from fusion_core.errors import RecipeError
from fusion_core.recipe.graph import AblationStep, Model, Recipe
from fusion_core.recipe.nodes import (
    Choose,
    ExistingRun,
    Gate,
    Node,
    Options,
    Pairing,
    Predict,
    Propagate,
    Rescore,
    Vote,
    VoteRule,
)
from fusion_core.recipe.toml_file import Keys, TomlFile, read_toml

__all__ = ["read_recipe", "recipe_as_toml"]

T = TypeVar("T")
_MISSING: Any = object()


# --- reading a recipe -------------------------------------------------------------------------------------------------


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file. Paths in it are relative to the file's folder.

    Raises:
        RecipeError: names the file, the line and what to write instead.
    """
    file = read_toml(path)
    try:
        return _recipe(_Table(file, (), file.values), path)
    except RecipeError as error:
        if error.args[0].startswith(str(path)):
            raise
        raise file.fault(str(error), error.at) from error


class _Table:
    """A table of the file. Every key must be taken, so that unknown ones are noticed."""

    def __init__(self, file: TomlFile, keys: Keys, values: Mapping[str, Any]) -> None:
        self._file = file
        self._keys = keys
        self._values = dict(values)

    @property
    def name(self) -> str:
        """The last key that leads to the table."""
        return self._keys[-1]

    def fault(self, message: str, *key: str) -> RecipeError:
        where = ".".join((*self._keys, *key)) or "recipe"
        return self._file.fault(f"{where}: {message}", (*self._keys, *key))

    def take(self, key: str, expected: str, kinds: type | tuple[type, ...], default: Any = _MISSING) -> Any:
        """Remove a value and check its type; `expected` describes the type for people."""
        if key not in self._values:
            if default is _MISSING:
                raise self.fault(f"the key {key!r} is missing; expected {expected}")
            return default
        value = self._values.pop(key)
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise self.fault(f"expected {expected}, found {value!r:.80}", key)
        return value

    def text(self, key: str, default: Any = _MISSING) -> Any:
        return self.take(key, "text", str, default)

    def one_of(self, key: str, known: Sequence[str], default: str) -> Any:
        value = self.text(key, default)
        if value not in known:
            raise self.fault(f"expected one of {', '.join(known)}, found {value!r:.80}", key)
        return value

    def names(self, key: str, default: Any = _MISSING) -> tuple[str, ...]:
        values = self.take(key, "a list of names", (list, tuple), default)
        if not all(isinstance(value, str) for value in values):
            raise self.fault(f"expected a list of names, found {values!r:.80}", key)
        return tuple(values)

    def options(self) -> Options:
        options = self.take("options", "a table of options", dict, {})
        for key, value in options.items():
            if not isinstance(value, str | int | float | bool):
                raise self.fault(f"expected text, a number, true or false, found {value!r:.80}", "options", key)
        return options

    def path(self, key: str, default: Any = _MISSING) -> Any:
        value = self.text(key, default)
        return self._file.path.parent / value if isinstance(value, str) else value

    def each(self, kind: str, make: "Callable[[_Table], T]") -> list[T]:
        """What `make` returns for each of the tables `[kind.NAME]`."""
        made = []
        for name, values in self.take(kind, f"tables [{kind}.NAME]", dict, {}).items():
            if not isinstance(values, dict):
                raise self.fault(f"expected a table [{kind}.{name}], found {values!r:.80}", kind, name)
            table = _Table(self._file, (*self._keys, kind, name), values)
            made.append(make(table))
            table.end()
        return made

    def end(self) -> None:
        """Raises RecipeError if a key was not taken."""
        for key in self._values:
            raise self.fault("there is no such key here", key)


def _recipe(table: _Table, path: Path) -> Recipe:
    makers: Sequence[tuple[str, Callable[[_Table], Node]]] = (
        ("run", _existing),
        ("predict", _predict),
        ("propagate", _propagate),
        ("vote", _vote),
        ("choose", _choose),
        ("gate", _gate),
        ("rescore", _rescore),
    )
    name = table.text("name", path.stem)
    faithful = table.take("faithful", "true or false", bool, False)
    models = tuple(table.each("model", lambda one: _model(one, path.parent)))
    nodes = tuple(node for kind, make in makers for node in table.each(kind, make))
    ablation = tuple(table.each("ablation", _ablation))
    result = table.text("result")
    table.end()
    return Recipe(name=name, result=result, nodes=nodes, models=models, ablation=ablation, faithful=faithful)


def _model(table: _Table, folder: Path) -> Model:
    program = table.take("program", "the command line as text or a list of words", (str, list))
    words = [program] if isinstance(program, str) else program
    if not all(isinstance(word, str) for word in words):
        raise table.fault(f"expected a list of words, found {program!r:.80}", "program")
    if words and len(Path(words[0]).parts) > 1:
        words = [str((folder / words[0]).absolute()), *words[1:]]
    return Model(
        name=table.name,
        program=tuple(words),
        options=table.options(),
        checkpoint=table.path("checkpoint", None),
        weights=table.text("weights", None),
        memory=float(table.take("memory", "a number of GiB", (int, float), Model.memory)),
        frame_memory=float(table.take("frame_memory", "a number of MiB", (int, float), Model.frame_memory)),
    )


def _existing(table: _Table) -> ExistingRun:
    return ExistingRun(name=table.name, path=table.path("path"))


def _predict(table: _Table) -> Predict:
    return Predict(name=table.name, model=table.text("model"), options=table.options())


def _propagate(table: _Table) -> Propagate:
    source = table.text("source")
    return Propagate(name=table.name, model=table.text("model"), source=source, options=table.options())


def _vote(table: _Table) -> Vote:
    members = table.names("members")
    leftover = table.take("leftover", "'first' or a number of votes", (str, int), None)
    if isinstance(leftover, str) and leftover != "first":
        raise table.fault(f"expected 'first' or a number of votes, found {leftover!r:.80}", "leftover")
    pairing = Pairing(table.one_of("pairing", list(Pairing), Pairing.default(leftover)))
    cast = pairing.votes_cast(len(members))
    return Vote(
        name=table.name,
        members=members,
        threshold=table.take("threshold", f"a number of votes out of {cast}", int),
        out_of=table.take("out_of", "a number of votes", int, cast),
        leftover=leftover,
        leftover_takes_support=table.take("leftover_takes_support", "true or false", bool, False),
        pairing=pairing,
        rule=table.one_of("rule", get_args(VoteRule), Vote.rule),
    )


def _choose(table: _Table) -> Choose:
    return Choose(name=table.name, members=table.names("members"), judges=table.names("judges", ()))


def _gate(table: _Table) -> Gate:
    threshold = float(table.take("threshold", "the lowest score", (int, float)))
    return Gate(name=table.name, source=table.text("source"), threshold=threshold, scores=table.text("scores", None))


def _rescore(table: _Table) -> Rescore:
    return Rescore(name=table.name, source=table.text("source"), judges=table.names("judges"))


def _ablation(table: _Table) -> AblationStep:
    runs = table.names("runs")
    published = table.take("published", "a table of scores by run", dict, {})
    for run, score in published.items():
        if not isinstance(score, int | float) or isinstance(score, bool):
            raise table.fault(f"expected a score in percent, found {score!r:.80}", "published", run)
    return AblationStep(label=table.name, runs=runs, published=published)


# --- writing --------------------------------------------------------------------------------------------------------


def recipe_as_toml(recipe: Recipe) -> str:
    """A recipe as the text of a file that `read_recipe` reads; a start for a recipe of one's own."""
    head = {"name": recipe.name, "result": recipe.result, **({"faithful": True} if recipe.faithful else {})}
    parts = ["".join(_assignments(head))]
    for one in (*recipe.models, *recipe.nodes):
        parts.append(f"[{one.kind}.{_key(one.name)}]\n" + "".join(_assignments(_entries(one))))
    for step in recipe.ablation:
        entries = {"runs": step.runs, **({"published": step.published} if step.published else {})}
        parts.append(f"[ablation.{_key(step.label)}]\n" + "".join(_assignments(entries)))
    return "\n".join(parts)


def _entries(one: Model | Node) -> dict[str, Any]:
    """The keys in the table of a model or node, except those with their default."""
    match one:
        case Model():
            program = one.program[0] if len(one.program) == 1 else one.program
            paths = {"checkpoint": one.checkpoint and str(one.checkpoint.absolute()), "weights": one.weights}
            entries = {"program": program, "options": one.options, **paths}
            sizes = {"memory": Model.memory, "frame_memory": Model.frame_memory}
            return _given(entries) | {key: size for key, usual in sizes.items() if (size := getattr(one, key)) != usual}
        case ExistingRun():
            return {"path": str(one.path.absolute())}
        case Predict():
            return _given({"model": one.model, "options": one.options})
        case Propagate():
            return _given({"model": one.model, "source": one.source, "options": one.options})
        case Vote():
            cast = one.pairing.votes_cast(len(one.members))
            entries = {
                "members": one.members,
                "threshold": one.threshold,
                "out_of": one.out_of if one.out_of != cast else None,
                "leftover": one.leftover,
                "leftover_takes_support": one.leftover_takes_support or None,
                "pairing": str(one.pairing) if one.pairing is not Pairing.default(one.leftover) else None,
                "rule": one.rule if one.rule != Vote.rule else None,
            }
            return _given(entries)
        case Choose():
            return _given({"members": one.members, "judges": one.judges or None})
        case Gate():
            return _given({"source": one.source, "threshold": one.threshold, "scores": one.scores})
        case Rescore():
            return {"source": one.source, "judges": one.judges}


def _given(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if value is not None and value != {}}


def _assignments(entries: Mapping[str, Any]) -> Iterator[str]:
    for key, value in entries.items():
        yield f"{_key(key)} = {_value(value)}\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    """Text, numbers, lists and tables as TOML; all but tables look the same in JSON."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(key)} = {_value(inner)}' for key, inner in value.items())} }}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
