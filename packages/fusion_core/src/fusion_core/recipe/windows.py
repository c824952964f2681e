"""Windows for the programs of a recipe that take a whole video as one clip, where the video is too long for that."""

from dataclasses import replace

from fusion_core.recipe.graph import Recipe

WINDOW = 48  # frames; at published sizes a window takes less memory than the weights
SHARE = 0.7  # of the memory; the rest is for other processes


def with_windows(recipe: Recipe, frames: int, memory: float) -> tuple[Recipe, list[str]]:
    """The recipe for a video of so many frames, and what has changed, in words.

    Args:
        recipe: a model with an option `window` of its own stays as it is.
        frames: of the video.
        memory: GiB that a program may use. It does not depend on what other processes use just now, so that the same
            command always makes the same recipe.
    """
    said = []
    models = []
    for model in recipe.models:
        needed = model.memory + frames * model.frame_memory / 2**10
        if model.frame_memory and needed > SHARE * memory and "window" not in model.options and frames > WINDOW:
            said.append(
                f"{model.name} takes the video in windows of {WINDOW} frames: {frames} frames at once would need about "
                f"{needed:.1f} GiB, more than {SHARE:.0%} of the {memory:.1f} GiB here"
            )
            model = replace(model, options={**model.options, "window": WINDOW})
        models.append(model)
    return replace(recipe, models=tuple(models)), said
