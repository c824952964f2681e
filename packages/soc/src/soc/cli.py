"""The command `soc-infer`."""

from importlib.metadata import version
from pathlib import Path

from mask_interchange.program import ModelRequest, Predictor, RVOSProgram, rvos_app
from rvos_layers.errors import RVOSLayersError

# Modules that need torch are imported when there is work to do, so that `--help` stays quick.


def load(request: ModelRequest) -> Predictor:
    """Make the predictor that was asked for."""
    from soc.predict import PROGRAM, SOCPredictor

    return PROGRAM.load(request, SOCPredictor)


def convert(source: Path, target: Path, config: str) -> None:
    """Write a published checkpoint as safetensors."""
    from soc.predict import PROGRAM

    PROGRAM.convert(source, target, config)


PROGRAM_CARD = RVOSProgram(
    name="soc-infer",
    version=version("soc"),
    about="SOC: segment in a video what sentences refer to.",
    configs=("joint-base", "tiny"),
    tokenizer="auto",
    error=RVOSLayersError,
    load=load,
    convert=convert,
)

main = rvos_app(PROGRAM_CARD)
