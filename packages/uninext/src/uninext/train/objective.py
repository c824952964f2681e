"""The losses of UNINEXT: the proposals and every decoder layer predict on single frames, and are matched and compared.

Source: Lin et al. 2023, section 3.2, and the settings of `projects/UNINEXT` (weights of `DDETRS`, `OTA`,
`USE_IOU_BRANCH`). Left out are denoising queries and the contrastive loss for tracking. The published network has class
and overlap heads for every decoder layer, and inference uses the last ones only; here these serve all layers.

Letters: B images, each with an expression and the object that it refers to, N queries or tokens, C channels, P
positives.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from rvos_training.data.batches import Batch
from rvos_training.errors import TrainingError
from rvos_training.loop.contract import ModelWithLoss
from rvos_training.losses.mask_views import EVERY_FOURTH
from rvos_training.losses.targets import Targets
from rvos_training.losses.terms import ALPHA, GAMMA, LossWeights, box_distance, dice_coefficient, giou, mask_focal
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import sigmoid_focal_loss

from uninext.deformable_transformer import anchor_logits
from uninext.geometry import FrameGeometry, frame_geometry
from uninext.heads import pool_text
from uninext.model import Uninext
from uninext.train.matching import Candidates, assign_positives, overlap

COST_WEIGHTS = LossWeights(label=2, box=5, giou=2, focal=0, dice=0)
PUBLISHED = {"label": 2.0, "box": 5.0, "giou": 2.0, "overlap": 2.0, "focal": 2.0, "dice": 5.0}
# The published weights are for a network that has learned detection before. A network with random weights is slow to
# learn expressions with them, as they favour outlining every object over choosing the one that is meant.
FROM_NOTHING = {"label": 8.0, "box": 2.0, "giou": 1.0, "overlap": 2.0, "focal": 2.0, "dice": 2.0}
PROPOSALS = "_proposals"

geometry_of = lru_cache(maxsize=16)(frame_geometry)  # the same for all batches of one size


@dataclass(frozen=True, slots=True, eq=False)
class FrameLosses:
    """Losses of one batch.

    Attributes:
        terms: unweighted, by name; `label` of the last decoder layer, `label_0` of layer 0.
        total: weighted sum over all terms, which training minimises.
    """

    terms: dict[str, Tensor]
    total: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class LayerPredictions:
    """Predictions of the proposals, or of a decoder layer, for B images.

    Attributes:
        suffix: of the names of its loss terms.
        candidates: logits, boxes and reference points.
        iou_logits: [B, N], predicted overlap with the ground truth; None for proposals.
        queries: [B, N, C], from which masks are computed; None for proposals.
    """

    suffix: str
    candidates: Candidates
    iou_logits: Tensor | None = None
    queries: Tensor | None = None


class FrameModelWithLoss(ModelWithLoss):
    """The network and its losses on single frames.

    Args:
        network: to train.
        loss_weights: by name of the term.
    """

    def __init__(self, network: Uninext, loss_weights: Mapping[str, float] = PUBLISHED) -> None:
        super().__init__()
        self.network = network
        self.loss_weights = loss_weights

    @property
    def uninext(self) -> Uninext:
        """The network."""
        assert isinstance(self.network, Uninext)
        return self.network

    def forward(self, batch: Batch) -> FrameLosses:
        """Losses of B clips of one frame each, all of one size.

        Raises:
            TrainingError: clips of several frames, or frames of different sizes.
        """
        network = self.uninext
        geometry = geometry_of(_image_size(batch), network.config.hidden_size, batch.frames.device)
        text = network.encode_text(batch.tokens.input_ids, batch.tokens.padding_mask)
        memory, words = network.fuse_and_encode_batch(network.encode_frames(batch.frames[:, 0], geometry), text)
        features = network.mask_features(geometry.split(memory)[:3])
        terms: dict[str, Tensor] = {}
        for layer in self.layer_predictions(memory, pool_text(words, text.padding_mask), geometry):
            found = self._terms(layer, features, geometry, batch.targets)
            terms |= {name + layer.suffix: value for name, value in found.items()}
        total = torch.stack([self.loss_weights[name.split("_")[0]] * value for name, value in terms.items()]).sum()
        return FrameLosses(terms, total)

    def layer_predictions(
        self, memory: Tensor, pooled_text: Tensor, geometry: FrameGeometry
    ) -> Iterator[LayerPredictions]:
        """The predictions of all tokens as proposals, then those of each decoder layer, the last layer last."""
        network, head = self.uninext, self.uninext.proposals
        described = head.project_features(memory, geometry)
        chosen = head.select(described, geometry)
        yield LayerPredictions(
            PROPOSALS,
            Candidates(
                logits=chosen.scores,
                boxes=head.boxes(described, anchor_logits(geometry)),
                centres=geometry.anchors[:, :2],
                allowed=geometry.valid_anchors,
            ),
        )
        decoded = network.decoder(chosen.references, memory, geometry)
        for layer, queries in enumerate(decoded.queries):
            before, after = decoded.references[layer : layer + 2]
            yield LayerPredictions(
                f"_{layer}" if layer + 1 < len(decoded.queries) else "",
                Candidates(
                    logits=network.agreement(queries, pooled_text), boxes=after, centres=before[..., :2].detach()
                ),
                network.iou_head(queries).squeeze(-1),
                queries,
            )

    def _terms(
        self, layer: LayerPredictions, features: Tensor, geometry: FrameGeometry, targets: Targets
    ) -> dict[str, Tensor]:
        """Unweighted losses of one layer, each a mean over positives (`label` is summed over candidates)."""
        candidates, visible = layer.candidates, targets.visible[:, 0]
        chosen = assign_positives(candidates, targets.boxes[:, 0], visible, COST_WEIGHTS)
        images, places = chosen.nonzero(as_tuple=True)  # P each
        count = max(len(images), 1)
        boxes, truth = candidates.boxes[images, places], targets.boxes[images, 0]
        label = sigmoid_focal_loss(candidates.logits, chosen.float(), ALPHA, GAMMA)
        if candidates.allowed is not None:
            label = label * candidates.allowed
        terms = {
            "label": label.sum() / count,
            "box": box_distance(boxes, truth).sum() / count,
            "giou": (1 - giou(boxes, truth)).sum() / count,
        }
        if layer.iou_logits is not None:
            actual = overlap(boxes.detach(), truth)
            predicted = layer.iou_logits[images, places]
            terms["overlap"] = binary_cross_entropy_with_logits(predicted, actual, reduction="sum") / count
        if layer.queries is not None:
            height, width = geometry.image_size
            logits = self.uninext.dynamic_mask(
                layer.queries[images, places, None],
                candidates.centres[images, places, None] * boxes.new_tensor([width, height]),
                features[images],
            ).flatten(2)  # [P, 1, pixels]
            masks = targets.masks[images, 0, EVERY_FOURTH, EVERY_FOURTH].flatten(1).to(logits)
            terms["focal"] = mask_focal(logits, masks).sum() / count
            terms["dice"] = (1 - dice_coefficient(logits, masks)).sum() / count
        return terms


def _image_size(batch: Batch) -> tuple[int, int]:
    """(H, W) of the frames without their padding.

    Raises:
        TrainingError: see `FrameModelWithLoss.forward`.
    """
    frames, padding = batch.frames.shape[1], batch.padding_mask
    if frames != 1:
        raise TrainingError(
            f"UNINEXT learns from single frames, found clips of {frames}; use a training configuration with frames=1"
        )
    if padding is None:
        return batch.frames.shape[-2], batch.frames.shape[-1]
    if (padding != padding[0]).any():
        raise TrainingError(
            f"UNINEXT learns from batches of frames of one size, found several in {'; '.join(batch.names)}"
        )
    seen = ~padding[0, 0]
    return int(seen[:, 0].sum()), int(seen[0].sum())
