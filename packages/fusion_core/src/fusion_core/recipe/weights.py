"""Which weights the models of a recipe get: files by name, a folder of them, or random ones."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fusion_core.errors import RecipeError
from fusion_core.recipe.graph import Model, Recipe
from fusion_core.recipe.toml import read_toml


def with_weights(recipe: Recipe, checkpoints: Mapping[str, Path], weights: str | None = None) -> Recipe:
    """A recipe whose models have the weights that the user chose.

    Args:
        recipe: its own weights stay, unless others are given.
        checkpoints: files, by the model's name.
        weights: `random:SEED`, for models without a file and without weights in the recipe.

    Raises:
        RecipeError: a name is not one of its models, or a file does not exist.
    """
    known = [model.name for model in recipe.models]
    for name, path in checkpoints.items():
        if name not in known:
            raise RecipeError(f"checkpoint {name}={path}: recipe {recipe.name!r} has the models {', '.join(known)}")

    def chosen(model: Model) -> Model:
        if model.name in checkpoints:
            model = replace(model, checkpoint=checkpoints[model.name], weights=None)
        elif weights is not None and model.checkpoint is None and model.weights is None:
            model = replace(model, weights=weights)
        if model.checkpoint is not None and not model.checkpoint.is_file():
            raise RecipeError(f"model {model.name!r}: no such checkpoint: {model.checkpoint}")
        return model

    return replace(recipe, models=tuple(chosen(model) for model in recipe.models))


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
    """Files that a TOML file names (`soc = "joint_base.tar"`, relative to it), or that are in a folder as `soc.*`.

    Raises:
        RecipeError: the file has a mistake (names the line), or the folder has two files for one model.
    """
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
        if len(files) > 1:
            raise RecipeError(f"{path}: {files[0].name} and {files[1].name} are both for the model {model.name!r}")
        if files:
            found[model.name] = files[0]
    return found
