"""What the generator knows of a synthetic video and no file tells: looks of objects, claims of expressions."""

from collections.abc import Mapping
from functools import cache

from rvos_synthetic import ReferringExpression, Scene, plan_video
from rvos_synthetic.grammar import Truths, truths

from demo_weights.stages import SIZE

SIDES = {"left": "right", "right": "left"}
Claims = Mapping[str, str]  # attribute -> its value


@cache
def plan_of(video: str) -> tuple[Scene, tuple[ReferringExpression, ...]]:
    """The scene and the expressions of a video, by its name. Its number of frames does not matter."""
    split, index = video.rsplit("_", 1)
    return plan_video(split, int(index), SIZE)


@cache
def truths_of(video: str) -> tuple[Truths, ...]:
    """What is true of each object of a video."""
    scene, _ = plan_of(video)
    return tuple(truths(scene, item) for item in scene.objects)


def is_false(claims: Claims, video: str) -> bool:
    """Whether claims are false of every object of a video."""
    return all(any(one[name][value] is False for name, value in claims.items()) for one in truths_of(video))


def mirrored_claims(claims: Claims) -> Claims:
    """The claims of the expression about the mirrored video."""
    return {name: SIDES.get(value, value) for name, value in claims.items()}
