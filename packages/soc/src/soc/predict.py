"""SOC as a predictor: from a checkpoint, or the bundled weights, to mask tracks."""

from rvos_layers.inference.model_factory import ModelFactory, ModelPredictor

from soc.bundled import BUNDLED
from soc.checkpoint import CHECKPOINTS
from soc.preprocess import RESIZE

EXPRESSIONS_AT_ONCE = 8


class SOCPredictor(ModelPredictor):
    """Segments what expressions refer to: `predict` takes a video, `segment` any frames.

    predictor = SOCPredictor.load()  # or load("joint_base.tar")
    tracks = predictor.segment(frames, ["the brown dog", "a dog turning"])  # frames: uint8 [H, W, 3] RGB each
    tracks[0].mask(7)  # bool [H, W] in frame 7
    """

    factory = ModelFactory(checkpoints=CHECKPOINTS, resize=RESIZE, bundled=BUNDLED)

    def expressions_at_once(self, frames: int) -> int:
        """A fixed number: SOC drops the encoder's memory as it goes, and what it keeps of a frame is small."""
        return EXPRESSIONS_AT_ONCE
