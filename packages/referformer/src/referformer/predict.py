"""ReferFormer as a predictor: from a checkpoint, or the bundled weights, to mask tracks."""

from rvos_layers.inference.model_factory import ModelFactory, ModelPredictor

from referformer.bundled import BUNDLED
from referformer.checkpoint import CHECKPOINTS
from referformer.preprocess import RESIZE


class ReferFormerPredictor(ModelPredictor):
    """Segments what expressions refer to: `predict` takes a video, `segment` any frames.

    predictor = ReferFormerPredictor.load()  # or load("ytvos_video_swin_base_joint.pth")
    tracks = predictor.segment(frames, ["the brown dog", "a dog turning"])  # frames: uint8 [H, W, 3] RGB each
    tracks[0].mask(7)  # bool [H, W] in frame 7
    """

    factory = ModelFactory(checkpoints=CHECKPOINTS, resize=RESIZE, bundled=BUNDLED)
