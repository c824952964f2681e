"""From weights to masks: the model of a checkpoint, with its tokenizer and its size of frames.

from mutr import MUTRPredictor

predictor = MUTRPredictor.load("video_swin_b_p4w7.pth", tokenizer="roberta-base")
tracks = predictor.segment(frames, ["the brown dog", "a dog turning"])  # frames: uint8 [H, W, 3] RGB each
tracks[0].mask(7)  # bool [H, W]
"""

from rvos_layers.inference.model_factory import ModelFactory, ModelPredictor

from mutr.bundled import BUNDLED
from mutr.checkpoint import CHECKPOINTS
from mutr.preprocess import RESIZE


class MUTRPredictor(ModelPredictor):
    """Segments what sentences refer to; `predict` takes a video, `segment` any frames."""

    factory = ModelFactory(checkpoints=CHECKPOINTS, resize=RESIZE, bundled=BUNDLED)
