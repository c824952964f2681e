"""The commands `sam2-propagate` and `grounded-sam2-infer`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from program_kit.distributions import version_of
from program_kit.errors import ProgramKitError
from program_kit.messages import log
from program_kit.propagator_app import PropagatorProgram, PropagatorRequest, propagator_app
from program_kit.segmenter_app import ModelRequest, SegmenterProgram, segmenter_app

from grounded_sam2.config import GROUNDED, NETWORKS, SAM2

if TYPE_CHECKING:
    from grounded_sam2.grounded import GroundedSAM2Predictor
    from grounded_sam2.predict import SAM2Propagator


@dataclass(frozen=True, slots=True, kw_only=True)
class SAM2Options:
    """The options that both programs have."""

    cache: Annotated[float, typer.Option(metavar="GIB", min=0, help="Memory for features of frames.")] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundedOptions(SAM2Options):
    """The options of the program that finds what sentences describe."""

    per_frame: Annotated[
        bool, typer.Option("--per-frame", help="Mask of each frame's own box, instead of carrying the best frame's.")
    ] = False
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="A sentence whose best score is below this has no masks.")
    ] = 0.0


def load_sam2(request: PropagatorRequest[SAM2Options]) -> "SAM2Propagator":
    """Load the network that the options ask for."""
    from grounded_sam2.predict import SAM2Propagator

    return SAM2Propagator.load(
        request.weights.checkpoint,
        seed=request.weights.seed,
        config=request.config,
        device=request.device,
        precision=request.precision,
        cache_bytes=int(request.options.cache * 2**30),
    )


sam2 = propagator_app(
    PropagatorProgram(
        name="sam2-propagate",
        version=version_of("grounded-sam2"),
        about="Carry key frames' masks both ways through videos with SAM 2.1.",
        configs=tuple(SAM2),
        checkpoint="folder",
        error=ProgramKitError,
        options=SAM2Options,
        settings=lambda request: {},
        load=load_sam2,
        prompts=True,
    )
)


def load_grounded(request: ModelRequest) -> "GroundedSAM2Predictor":
    """Load the networks that the options ask for."""
    from grounded_sam2.grounded import GroundedSAM2Predictor, load_networks

    options: GroundedOptions = request.options
    detector, segmenter = load_networks(
        request.config,
        request.weights,
        device=request.device,
        precision=request.precision,
        cache_bytes=int(options.cache * 2**30),
    )
    return GroundedSAM2Predictor(
        detector,
        segmenter,
        per_frame=options.per_frame,
        threshold=options.threshold,
        soft_masks=request.soft_masks,
        say=lambda line: log.info(f"grounded-sam2-infer: {line}"),
    )


def grounded_settings(request: ModelRequest) -> dict[str, object]:
    """What changes masks, for the manifest."""
    options: GroundedOptions = request.options
    return {"per_frame": options.per_frame, "threshold": options.threshold}


grounded = segmenter_app(
    SegmenterProgram(
        name="grounded-sam2-infer",
        version=version_of("grounded-sam2"),
        about="Grounding DINO and SAM 2.1: segment in a video what sentences describe.",
        configs=tuple(GROUNDED),
        checkpoint="folder",
        networks=NETWORKS,
        tokenizer=None,
        error=ProgramKitError,
        options=GroundedOptions,
        settings=grounded_settings,
        load=load_grounded,
    )
)
