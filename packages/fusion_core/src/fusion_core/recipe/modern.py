"""The recipe of today's models, with those of 2023 whose weights are on this machine."""

from fusion_core.recipe.graph import AblationStep, Model, Recipe
from fusion_core.recipe.nodes import Pairing, Predict, Propagate, Vote
from fusion_core.recipe.published import ICCV2023
from fusion_core.recipe.weights import is_stored

MODERN = "modern"
LEADER = "grounded"
CARRIERS = ("sam2", "cutie")
MODELS = (
    Model(
        name=LEADER,
        program=("grounded-sam2-infer",),
        options={"config": "grounding-dino-base_sam2.1-base-plus", "per_frame": True},
    ),
    Model(
        name="grounded_tiny",
        program=("grounded-sam2-infer",),
        options={"config": "grounding-dino-tiny_sam2.1-base-plus", "per_frame": True},
    ),
    Model(name="sam2", program=("sam2-propagate",), options={"config": "sam2.1-base-plus"}),
    Model(name="cutie", program=("cutie-propagate",), options={"config": "base"}),
)


def modern() -> Recipe:
    """Two groundings and every model of 2023 whose weights are in the user's folder, carried twice each, and voted.

    The first grounding votes with three runs, which are a majority against the second one: where the two find different
    objects, the first one's is taken. Nobody has measured what the recipe scores.
    """
    of_2023 = [
        node
        for node in ICCV2023.nodes
        if isinstance(node, Predict) and not node.options and is_stored(ICCV2023.model(node))
    ]
    predictions = [*(Predict(name=model.name, model=model.name) for model in MODELS[:2]), *of_2023]
    carried = [
        Propagate(name=f"{node.name}_{carrier}", model=carrier, source=node.name)
        for node in predictions
        for carrier in CARRIERS
    ]
    voters = (LEADER, *(node.name for node in carried))
    final = Vote(
        name="final",
        members=voters,
        threshold=len(voters) + 1,  # more than half of two votes a member, whose number is odd
        out_of=Pairing.AUTO.votes_cast(len(voters)),
        pairing=Pairing.AUTO,
    )
    return Recipe(
        name=MODERN,
        result=final.name,
        models=(*MODELS, *(ICCV2023.model(node) for node in of_2023)),
        nodes=(*predictions, *carried, final),
        ablation=(
            AblationStep(label="best single member", runs=tuple(node.name for node in predictions)),
            AblationStep(label="+ SAM 2 or Cutie", runs=tuple(node.name for node in carried)),
            AblationStep(label="+ vote", runs=(final.name,)),
        ),
    )
