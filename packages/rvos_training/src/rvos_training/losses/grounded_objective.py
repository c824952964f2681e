"""The losses of ReferFormer and MUTR: every decoder layer predicts, and is matched and compared by itself.

Source: `models/criterion.py` and `models/matcher.py` of both, which are equal.
"""

from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_layers.grounded.masks import GroundedOutputs
from rvos_layers.grounded.segmenter import GroundedSegmenter

from rvos_training.losses.criterion import Criterion, visible_frames
from rvos_training.losses.mask_views import every_fourth_pixel
from rvos_training.losses.matcher import Matcher
from rvos_training.losses.targets import Predictions
from rvos_training.losses.terms import LossWeights

LOSS_WEIGHTS = LossWeights(label=2, box=5, giou=2, focal=2, dice=5)  # of matching costs, too


def criterion(faithful: bool = False) -> Criterion:
    """The published losses; `faithful` as in `Matcher`."""
    matcher = Matcher(cost_weights=LOSS_WEIGHTS, view=every_fourth_pixel, faithful=faithful)
    return Criterion(matcher=matcher, loss_weights=LOSS_WEIGHTS, count=visible_frames)


def layer_predictions(model: GroundedSegmenter, video: VideoFeatures, text: TextFeatures) -> list[Predictions]:
    """The predictions of every decoder layer for B clips, each with an expression of its own; the last layer last.

    Mask features are computed once and serve the masks of all layers.
    """
    layers = model.decode_layers(video, text)
    features = model.masks.features(video, text, layers[-1].memory)

    def predictions(found: GroundedOutputs) -> Predictions:
        return Predictions(
            logits=found.logits,
            boxes=found.boxes,
            predict_masks=lambda queries: model.masks.masks_from_features(features, video, found.select(queries)),
        )

    return [predictions(found) for found in layers]
