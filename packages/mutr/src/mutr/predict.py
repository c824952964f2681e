"""MUTR as a predictor: from a checkpoint, or the bundled weights, to mask tracks."""

from rvos_layers.inference.model_factory import ModelFactory, ModelPredictor

from mutr.bundled import BUNDLED
from mutr.checkpoint import CHECKPOINTS
from mutr.preprocess import RESIZE


class MUTRPredictor(ModelPredictor):
    """Segments what expressions refer to: `predict` takes a video, `segment` any frames.

    predictor = MUTRPredictor.load()  # or load("video_swin_b_p4w7.pth")
    tracks = predictor.segment(frames, ["the brown dog", "a dog turning"])  # frames: uint8 [H, W, 3] RGB each
    tracks[0].mask(7)  # bool [H, W] in frame 7
    """

    factory = ModelFactory(checkpoints=CHECKPOINTS, resize=RESIZE, bundled=BUNDLED)
