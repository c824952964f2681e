"""What ReferFormer and MUTR are trained for: every decoder layer answers, is matched by itself and corrected.

Source: `models/criterion.py` and `models/matcher.py` of both, which are equal.
"""

from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_layers.grounded.masks import GroundedOutputs
from rvos_layers.grounded.segmenter import GroundedSegmenter

from rvos_training.losses.criterion import Criterion, visible_frames
from rvos_training.losses.mask_views import clip_thinned_out
from rvos_training.losses.matcher import Matcher
from rvos_training.losses.targets import Predictions
from rvos_training.losses.terms import Weights

WEIGHTS = Weights(label=2, box=5, giou=2, focal=2, dice=5)  # of costs and of losses


def criterion(faithful: bool = False) -> Criterion:
    """The published losses; `faithful` as in `Matcher`."""
    matcher = Matcher(weights=WEIGHTS, view=clip_thinned_out, faithful=faithful)
    return Criterion(matcher=matcher, weights=WEIGHTS, count=visible_frames)


def answers(model: GroundedSegmenter, video: VideoFeatures, text: TextFeatures) -> list[Predictions]:
    """What every decoder layer says of B clips, each with a sentence of its own; the last layer last.

    Mask features are made once; all layers are drawn on them.
    """
    layers = model.decode_layers(video, text)
    features = model.masks.features(video, text, layers[-1].memory)

    def predictions(found: GroundedOutputs) -> Predictions:
        return Predictions(
            logits=found.logits,
            boxes=found.boxes,
            draw=lambda queries: model.masks.masks_from_features(features, video, found.select(queries)),
        )

    return [predictions(found) for found in layers]
