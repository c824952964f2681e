"""What SOC is trained for: every decoder layer answers, is matched by itself and corrected.

Source: `MTTR.forward` in training mode, `models/matcher.py` and `models/criterion.py` of the challenge code.
"""

from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_training.losses.criterion import Criterion, all_frames
from rvos_training.losses.mask_views import frames_at_full_size
from rvos_training.losses.matcher import Matcher
from rvos_training.losses.targets import Predictions
from rvos_training.losses.terms import Weights

from soc.model import SOC, SOCOutputs

COSTS = Weights(label=2, box=2, giou=2, focal=0, dice=5)
LOSSES = Weights(label=2, box=2, giou=2, focal=2, dice=5)


def criterion(faithful: bool = False) -> Criterion:
    """The published losses; `faithful` as in `Matcher`."""
    matcher = Matcher(weights=COSTS, view=frames_at_full_size, faithful=faithful)
    return Criterion(matcher=matcher, weights=LOSSES, similarity=1, count=all_frames)


def answers(model: SOC, video: VideoFeatures, text: TextFeatures) -> list[Predictions]:
    """What every decoder layer says of B clips, each with a sentence of its own; the last layer last."""
    sentence = model.alignment.sentence(video, text)

    def predictions(found: SOCOutputs) -> Predictions:
        return Predictions(
            logits=found.logits,
            boxes=found.boxes,
            draw=lambda queries: model.predict_masks(video, text, found.select(queries)),
            similarity=(found.clip_queries * sentence[:, None]).sum(-1) / model.video.hidden_size,
        )

    return [predictions(found) for found in model.decode_layers(video, text)]
