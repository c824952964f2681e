"""From weights to masks: the model of a checkpoint, with its tokenizer and its size of frames.

from referformer import ReferFormerPredictor

predictor = ReferFormerPredictor.load("ytvos_video_swin_base_joint.pth", tokenizer="roberta-base")
tracks = predictor.segment(frames, ["the brown dog", "a dog turning"])  # frames: uint8 [H, W, 3] RGB each
tracks[0].mask(7)  # bool [H, W]
"""

from rvos_layers.inference.model_factory import ModelFactory, ModelPredictor

from referformer.bundled import BUNDLED
from referformer.checkpoint import CHECKPOINTS
from referformer.preprocess import RESIZE


class ReferFormerPredictor(ModelPredictor):
    """Segments what sentences refer to; `predict` takes a video, `segment` any frames."""

    factory = ModelFactory(checkpoints=CHECKPOINTS, resize=RESIZE, bundled=BUNDLED)
