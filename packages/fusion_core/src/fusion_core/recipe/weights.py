"""Which weights the models of a recipe get: files by name, a folder of them, published or random ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from program_kit.weights import BUNDLED, WeightsChoice, check_weights, named_weights, parse_seed
from program_kit.weights_folder import stored
from program_kit.weights_table import Needs, needs_of

from fusion_core.errors import RecipeError
from fusion_core.recipe.graph import OWN_WEIGHTS, Model, Recipe
from fusion_core.recipe.toml_file import read_toml


def with_weights(recipe: Recipe, checkpoints: Mapping[str, Path], weights: str | None = None) -> Recipe:
    """A recipe whose models have the weights that the user chose.

    Args:
        recipe: its own weights stay, unless others are given.
        checkpoints: files or folders, by the model's name.
        weights: as the option `--weights` of programs, for models without a file and without weights in the recipe.
            Without it these get the published weights that are in the user's folder.

    Raises:
        RecipeError: a name is not one of its models, or a file does not exist.
        WeightsError: `weights` is of no kind, or named weights are not in the user's folder.
    """
    if weights is not None:
        check_weights(weights)
    known = [model.name for model in recipe.models]
    for name, path in checkpoints.items():
        if name not in known:
            raise RecipeError(f"checkpoint {name}={path}: recipe {recipe.name!r} has the models {', '.join(known)}")

    def chosen(model: Model) -> Model:
        if model.name in checkpoints:
            model = replace(model, checkpoint=checkpoints[model.name], weights=None)
        elif weights is not None and model.checkpoint is None and model.weights is None:
            model = replace(model, weights=weights)
        elif model.checkpoint is None and model.weights is None:
            model = replace(model, weights=_in_folder(model))
        if model.checkpoint is not None and not model.checkpoint.exists():
            raise RecipeError(f"model {model.name!r}: no such checkpoint: {model.checkpoint}")
        weights_choice(model)
        return model

    return replace(recipe, models=tuple(chosen(model) for model in recipe.models))


def published_needs(model: Model) -> Needs | None:
    """The published weights that a model takes by the table; None if the table does not have it."""
    needs = needs_of(model.program[0])
    config = model.options.get("config", model.options.get("backbone"))
    if config is None and len(needs) == 1:
        return next(iter(needs.values()))
    return needs.get(str(config))


def needed_weights(recipe: Recipe) -> list[str]:
    """Names of the published weights and tokenizers that the models of a recipe take."""
    needs = [published_needs(model) for model in recipe.models]
    return list(dict.fromkeys(name for one in needs if one for name in one.names))


def is_stored(model: Model) -> bool:
    """Whether all published weights that a model takes by the table are in the user's folder, its tokenizer too."""
    needs = published_needs(model)
    return needs is not None and all(stored(name) for name in needs.names)


def _in_folder(model: Model) -> str | None:
    """Names of the published weights of a model, if they are in the user's folder."""
    needs = published_needs(model)
    names = list(needs.weights.values()) if needs else []
    return ",".join(names) if names and all(stored(name) for name in names) else None


def weights_choice(model: Model) -> WeightsChoice:
    """The weights that the program of a model will load; empty for those that only it knows.

    Raises:
        WeightsError: named weights are not in the user's folder.
    """
    if model.checkpoint is not None:
        return WeightsChoice(paths={"model": model.checkpoint})
    weights = _in_folder(model) if model.weights == OWN_WEIGHTS else model.weights
    if weights is None or weights == BUNDLED:
        return WeightsChoice()
    if (seed := parse_seed(weights)) is not None:
        return WeightsChoice(seed=seed)
    names = weights.split(",")
    configs = list(needs_of(model.program[0]).values())
    networks = list(configs[0].weights) if configs else []
    if len(networks) != len(names):
        networks = [str(place) for place in range(len(names))]
    return WeightsChoice(paths=dict(zip(networks, named_weights(names), strict=True)))


def named_checkpoints(options: Sequence[str]) -> dict[str, Path]:
    """Files of options of the form `NAME=PATH`.

    Raises:
        RecipeError: an option has another form, or a name is given twice.
    """
    found: dict[str, Path] = {}
    for option in options:
        name, equals, path = option.partition("=")
        if not (name and equals and path):
            raise RecipeError(f"--checkpoint {option}: expected MODEL=PATH, for instance soc=joint_base.tar")
        if name in found:
            raise RecipeError(f"--checkpoint {option}: {name!r} has {found[name]} already")
        found[name] = Path(path)
    return found


def stored_checkpoints(path: Path, recipe: Recipe) -> dict[str, Path]:
    """Files that a TOML file names (`soc = "joint_base.tar"`, relative to it), or `soc.*` and `soc` in a folder.

    Raises:
        RecipeError: nothing is there, the file has a mistake (names the line), or the folder has two files for one
            model.
    """
    if not path.exists():
        raise RecipeError(f"--checkpoints {path}: expected a folder of weights or a TOML file, found nothing")
    if not path.is_dir():
        file = read_toml(path)
        for name, value in file.values.items():
            if not isinstance(value, str):
                raise file.fault(f"{name}: expected the path of a checkpoint, found {value!r:.80}", (name,))
            if name not in {model.name for model in recipe.models}:
                raise file.fault(f"{name}: recipe {recipe.name!r} has no model of that name", (name,))
        return {name: path.parent / value for name, value in file.values.items()}
    found = {}
    for model in recipe.models:
        files = sorted(file for file in path.glob(f"{model.name}.*") if file.is_file())
        files += [path / model.name] * (path / model.name).is_dir()
        if len(files) > 1:
            raise RecipeError(f"{path}: {files[0].name} and {files[1].name} are both for the model {model.name!r}")
        if files:
            found[model.name] = files[0]
    return found
