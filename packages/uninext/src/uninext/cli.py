"""The command `uninext-infer`."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from program_kit.distributions import version_of
from program_kit.errors import ProgramKitError
from program_kit.segmenter_app import ModelRequest, SegmenterProgram, segmenter_app

from uninext.bundled import BUNDLED
from uninext.config import CONFIGS, PUBLISHED_SHORT_SIDE

if TYPE_CHECKING:
    from uninext.predict import UNINEXTPredictor


def load(request: ModelRequest) -> "UNINEXTPredictor":
    """Load the network that the options ask for."""
    _silence_libraries()
    from uninext.predict import UNINEXTPredictor

    return UNINEXTPredictor.load(
        request.weights.checkpoint,
        seed=request.weights.seed,
        config=request.config,
        device=request.device,
        precision=request.precision,
        tokenizer=request.tokenizer,
        soft_masks=request.soft_masks,
        short_side=request.short_side,
    )


def convert(source: Path, target: Path, config: str) -> None:
    """Write a published checkpoint as safetensors with this package's names."""
    _silence_libraries()
    from uninext.checkpoint import CHECKPOINTS

    CHECKPOINTS.convert(source, target, config)


def _silence_libraries() -> None:
    """Hide warnings of deprecated code in libraries, which a user cannot act on."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"timm\.|torch\.jit\.")


app = segmenter_app(
    SegmenterProgram(
        name="uninext-infer",
        version=version_of("uninext"),
        about="UNINEXT: segment in a video what expressions refer to, frame by frame.",
        configs=tuple(CONFIGS),
        config_options=("--backbone", "--config"),
        tokenizer="auto",
        short_side=PUBLISHED_SHORT_SIDE,
        bundled=tuple(BUNDLED.values()),
        error=ProgramKitError,
        load=load,
        convert=convert,
    )
)


def main() -> None:
    """Entry point of the console script `uninext-infer`."""
    app()
