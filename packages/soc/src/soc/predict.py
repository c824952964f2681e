"""SOC as a predictor: from a checkpoint, or the bundled weights, to mask tracks."""

from program_kit.torch.memory import rows_at_once
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_layers.inference.model_factory import ModelFactory, ModelPredictor

from soc.bundled import BUNDLED
from soc.checkpoint import CHECKPOINTS
from soc.preprocess import RESIZE


class SOCPredictor(ModelPredictor):
    """Segments what expressions refer to: `predict` takes a video, `segment` any frames.

    predictor = SOCPredictor.load()  # or load("joint_base.tar")
    tracks = predictor.segment(frames, ["the brown dog", "a dog turning"])  # frames: uint8 [H, W, 3] RGB each
    tracks[0].mask(7)  # bool [H, W] in frame 7
    """

    factory = ModelFactory(checkpoints=CHECKPOINTS, resize=RESIZE, bundled=BUNDLED)

    def expressions_at_once(self, video: VideoFeatures) -> int:
        """SOC drops the encoder's memory as it goes, and keeps mask features."""
        return rows_at_once(self.device, video.fine.nbytes)
