"""Recipes by their names."""

from pathlib import Path

from program_kit.weights_folder import stored
from program_kit.weights_table import published

from fusion_core.errors import RecipeError
from fusion_core.recipe.graph import Recipe
from fusion_core.recipe.modern import MODERN, modern
from fusion_core.recipe.published import DEMO, ICCV2023, RECIPES
from fusion_core.recipe.toml import read_recipe
from fusion_core.recipe.weights import is_stored, needed_weights

__all__ = ["find_recipe", "named_recipes"]


def named_recipes() -> dict[str, Recipe]:
    """All recipes that have a name here."""
    return {**RECIPES, MODERN: modern()}


def find_recipe(name: str) -> Recipe:
    """A recipe by its name, or from the TOML file with that path.

    Raises:
        RecipeError: there is neither, or the file has a mistake (names the line).
    """
    recipes = named_recipes()
    if name in recipes:
        return recipes[name]
    path = Path(name)
    if path.suffix != ".toml" and not path.is_file():
        raise RecipeError(f"no recipe {name!r}: give {', '.join(recipes)}, or the path of a .toml file")
    return read_recipe(path)


def best_recipe() -> Recipe:
    """The best recipe for real videos whose weights are all in the user's folder.

    Raises:
        RecipeError: there is none; says what to fetch.
    """
    recipe = modern()
    for one in (recipe, ICCV2023):
        if all(is_stored(model) for model in one.models):
            return one
    missing = [published(name) for name in needed_weights(recipe) if not stored(name)]
    described = [f"{one.name} [{one.megabytes}, {one.licence}]" for one in missing]
    raise RecipeError(
        f"the weights of recipe {recipe.name} are not all here; to download {', '.join(described)}: "
        f"`uv run fusion-core weights fetch {' '.join(one.name for one in missing)}`\n"
        f"or give --recipe {DEMO.name}, which needs no download and knows drawn shapes only"
    )
