"""The published recipe and its variants, as data."""

from collections.abc import Mapping
from dataclasses import replace

from fusion_core.recipe.graph import OWN_WEIGHTS, AblationStep, Model, Recipe
from fusion_core.recipe.nodes import Node, Options, Pairing, Predict, Propagate, Rescore, Vote


def _model(name: str, program: str, config: str, frame_memory: float = 0.0) -> Model:
    return Model(name=name, program=(program,), options={"config": config}, frame_memory=frame_memory)


def _propagated(suffix: str, *sources: str, **renamed: str) -> tuple[Propagate, ...]:
    pairs = {source: source for source in sources} | renamed
    return tuple(Propagate(name=f"{run}_{suffix}", model=suffix, source=source) for run, source in pairs.items())


# The winning entry of the RVOS track at ICCV 2023: thresholds, members and their order as in the scripts
# soc_test/test_swap_{1,2}.py and test_ensemble_{1,2}.py of RobertLuo1/iccv2023_RVOS_Challenge at c538b0d, scores from
# arXiv 2401.00663 (J&F on Ref-YouTube-VOS valid).
ICCV2023 = Recipe(
    name="iccv2023",
    result="final",
    models=(
        # MiB a frame: the sums of the tables in the packages' READMEs, at 360x640 and two expressions
        _model("soc", "soc-infer", "joint-base", 25),
        _model("mutr", "mutr-infer", "video-swin-b", 55),
        _model("referformer", "referformer-infer", "video-swin-b", 55),
        _model("vit_huge", "uninext-infer", "vit-h"),
        _model("convnext", "uninext-infer", "convnext-l"),
        _model("aot", "aot-propagate", "swinl_aotl"),
        _model("deaot", "deaot-propagate", "swinl_deaotl"),
    ),
    nodes=(
        Predict(name="soc", model="soc"),
        Predict(name="mutr", model="mutr"),
        Predict(name="mutr_432", model="mutr", options={"short_side": 432}),
        Predict(name="referformer", model="referformer"),
        Predict(name="vit_huge", model="vit_huge"),
        Predict(name="convnext", model="convnext"),
        Vote(
            name="soc_mutr_referft",
            members=("soc", "mutr", "referformer"),
            threshold=3,
            out_of=6,
            leftover="first",
            pairing=Pairing.CONSECUTIVE,
        ),
        Vote(
            name="vit_convnext_soc",
            members=("vit_huge", "convnext", "soc"),
            threshold=3,
            out_of=6,
            leftover="first",
            pairing=Pairing.CONSECUTIVE,
            leftover_takes_support=True,
        ),
        # The published masks of MUTR are made with a short side of 432, its votes and key frames with 360.
        *_propagated("aot", "soc_mutr_referft", "soc", "referformer", mutr="mutr_432"),
        *_propagated("deaot", "vit_convnext_soc", "vit_huge", "referformer"),
        Vote(
            name="en2",
            members=("soc_mutr_referft_aot", "soc_aot", "mutr_aot", "referformer_aot"),
            threshold=4,
            out_of=8,
            leftover=3,
            pairing=Pairing.CONSECUTIVE,
        ),
        Vote(
            name="final",
            members=("vit_convnext_soc_deaot", "vit_huge_deaot", "en2", "referformer_deaot"),
            threshold=4,
            out_of=8,
            leftover=3,
            pairing=Pairing.CONSECUTIVE,
        ),
    ),
    ablation=(
        AblationStep(
            label="best single member",
            runs=("soc", "mutr", "referformer", "vit_huge", "convnext"),
            published={"soc": 67.5},
        ),
        AblationStep(label="+ AOT", runs=("soc_aot", "mutr_aot", "referformer_aot"), published={"soc_aot": 69.5}),
        AblationStep(
            label="+ stage 1 and AOT", runs=("soc_mutr_referft_aot",), published={"soc_mutr_referft_aot": 72.4}
        ),
        AblationStep(label="+ stage 2 and DeAOT", runs=("final",), published={"final": 75.7}),
    ),
)

# The same, with every fault of the published scripts and runners.
FAITHFUL = replace(
    ICCV2023,
    name="iccv2023-faithful",
    faithful=True,
    models=tuple(
        replace(model, options={**model.options, "faithful": True}) if model.name in {"aot", "deaot"} else model
        for model in ICCV2023.models
    ),
)

# The same graph with the small weights that are bundled with the programs. They were trained with one frame size, so
# MUTR has one run. In synthetic videos an object has one to three expressions, so neighbours pool only if the members
# agree that they mean the same object. The small weights of SOC, MUTR and ReferFormer give scores that say nothing
# about masks, so key frames of these three and of their vote are those in which they agree most. UNINEXT's scores are
# worth more than agreement. Measured on validation videos (docs/demo_results.md).
_ONE_SCALE = {"scales": "1.0"}  # the published three take three times as long, for one point of J and less
_DEMO_OPTIONS: Mapping[str, Options] = {
    "vit_huge": {"config": "demo-vit"},
    "convnext": {"config": "demo-convnext"},
    "aot": _ONE_SCALE,
    "deaot": _ONE_SCALE,
}
_SECOND_SIZE = {"mutr_432": "mutr"}
_AGREEING = ("soc", "mutr", "referformer")


def _for_demo(node: Node) -> tuple[Node, ...]:
    match node:
        case Predict():
            return () if node.name in _SECOND_SIZE else (replace(node, options={}),)
        case Vote():
            return (replace(node, pairing=Pairing.AGREEMENT),)
        case Propagate():
            source = _SECOND_SIZE.get(node.source, node.source)
            if source not in (*_AGREEING, "soc_mutr_referft"):
                return (node,)
            judges = tuple(member for member in _AGREEING if member != source)
            agreed = Rescore(name=f"{source}_agreed", source=source, judges=judges)
            return agreed, replace(node, source=agreed.name)
    return (node,)


DEMO = replace(
    ICCV2023,
    name="demo",
    models=tuple(
        replace(
            model,
            options={"config": "demo"} | _DEMO_OPTIONS.get(model.name, {}),
            weights=OWN_WEIGHTS,
            memory=1.0,
            frame_memory=model.frame_memory and 1.0,
        )
        for model in ICCV2023.models
    ),
    nodes=tuple({made.name: made for node in ICCV2023.nodes for made in _for_demo(node)}.values()),
    ablation=tuple(replace(step, published={}) for step in ICCV2023.ablation),
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (ICCV2023, FAITHFUL, DEMO)}
