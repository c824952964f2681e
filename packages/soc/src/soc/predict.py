"""From weights to masks: the model of a checkpoint, with its tokenizer and its size of frames.

from soc import SOCPredictor

predictor = SOCPredictor.load("joint_base.tar")
tracks = predictor.segment(frames, ["the brown dog", "a dog turning"])  # frames: uint8 [H, W, 3] RGB each
tracks[0].mask(7)  # bool [H, W]
"""

from rvos_layers.inference.model_factory import ModelFactory, ModelPredictor

from soc.bundled import BUNDLED
from soc.checkpoint import CHECKPOINTS
from soc.preprocess import RESIZE

EXPRESSIONS_AT_ONCE = 8


class SOCPredictor(ModelPredictor):
    """Segments what sentences refer to; `predict` takes a video, `segment` any frames."""

    factory = ModelFactory(checkpoints=CHECKPOINTS, resize=RESIZE, bundled=BUNDLED)

    def expressions_at_once(self, frames: int) -> int:
        """A fixed number: SOC drops the encoder's memory as it goes, and what it keeps of a frame is small."""
        return EXPRESSIONS_AT_ONCE
