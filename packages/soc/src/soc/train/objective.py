"""The losses of SOC: every decoder layer predicts, and is matched and compared by itself.

Source: `MTTR.forward` in training mode, `models/matcher.py` and `models/criterion.py` of the challenge code.
"""

from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_training.losses.criterion import Criterion, all_frames
from rvos_training.losses.mask_views import frames_at_full_size
from rvos_training.losses.matcher import Matcher
from rvos_training.losses.targets import Predictions
from rvos_training.losses.terms import LossWeights

from soc.model import SOC, SOCOutputs

COST_WEIGHTS = LossWeights(label=2, box=2, giou=2, focal=0, dice=5)
LOSS_WEIGHTS = LossWeights(label=2, box=2, giou=2, focal=2, dice=5)


def criterion(faithful: bool = False) -> Criterion:
    """The published losses; `faithful` as in `Matcher`."""
    matcher = Matcher(cost_weights=COST_WEIGHTS, view=frames_at_full_size, faithful=faithful)
    return Criterion(matcher=matcher, loss_weights=LOSS_WEIGHTS, similarity_weight=1, count=all_frames)


def layer_predictions(model: SOC, video: VideoFeatures, text: TextFeatures) -> list[Predictions]:
    """The predictions of every decoder layer for B clips, each with an expression of its own; the last layer last."""
    sentence = model.alignment.sentence(video, text)

    def predictions(found: SOCOutputs) -> Predictions:
        return Predictions(
            logits=found.logits,
            boxes=found.boxes,
            predict_masks=lambda queries: model.predict_masks(video, text, found.select(queries)),
            similarity=(found.clip_queries * sentence[:, None]).sum(-1) / model.video.hidden_size,
        )

    return [predictions(found) for found in model.decode_layers(video, text)]
