"""What UNINEXT is trained for: proposals and every decoder layer answer for single frames, are matched and corrected.

Source: Lin et al. 2023, section 3.2, and the settings of `projects/UNINEXT` (weights of `DDETRS`, `OTA`,
`USE_IOU_BRANCH`). Not here: denoising queries and the contrastive loss for tracking. The published network has class
and overlap heads for every decoder layer, of which only the last are used once it is trained; here these serve all
layers.

Letters: B images, each with an expression and the object that it means, N queries or tokens, C channels, P stand-ins.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from rvos_training.data.batches import Batch
from rvos_training.errors import TrainingError
from rvos_training.loop.contract import TrainingModule
from rvos_training.losses.mask_views import THINNED
from rvos_training.losses.targets import Targets
from rvos_training.losses.terms import ALPHA, GAMMA, Weights, box_distance, dice_coefficient, giou, mask_focal
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import sigmoid_focal_loss

from uninext.deformable_transformer import anchor_logits
from uninext.geometry import FrameGeometry, frame_geometry
from uninext.heads import pool_text
from uninext.model import Uninext
from uninext.train.matching import Candidates, overlap, stand_ins

COSTS = Weights(label=2, box=5, giou=2, focal=0, dice=0)
PUBLISHED = {"label": 2.0, "box": 5.0, "giou": 2.0, "overlap": 2.0, "focal": 2.0, "dice": 5.0}
# The published weights are for a network that has learned to detect before. One that has learned nothing takes long to
# read with them: it is paid more for outlining every object well than for telling which is meant.
FROM_NOTHING = {"label": 8.0, "box": 2.0, "giou": 1.0, "overlap": 2.0, "focal": 2.0, "dice": 2.0}
PROPOSALS = "_proposals"

geometry_of = lru_cache(maxsize=16)(frame_geometry)  # the same for all batches of one size


@dataclass(frozen=True, slots=True, eq=False)
class FrameLosses:
    """Losses of one batch.

    Attributes:
        terms: unweighted, by name; those of the last decoder layer are called `label`, those of layer 0 `label_0`.
        total: weighted sum over all terms, to be minimised.
    """

    terms: dict[str, Tensor]
    total: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the proposals, or a decoder layer, say of B images.

    Attributes:
        suffix: of its loss terms.
        candidates: logits, boxes, and where each looked from.
        iou_logits: [B, N] predicted overlap with the truth; None of proposals.
        queries: [B, N, C] from which masks are drawn; None of proposals.
    """

    suffix: str
    candidates: Candidates
    iou_logits: Tensor | None = None
    queries: Tensor | None = None


class FrameLearner(TrainingModule):
    """The network and its losses on single frames.

    Args:
        network: to be trained.
        weights: of the losses, by name.
    """

    def __init__(self, network: Uninext, weights: Mapping[str, float] = PUBLISHED) -> None:
        super().__init__()
        self.network = network
        self.weights = weights

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
        for answer in self.answers(memory, pool_text(words, text.padding_mask), geometry):
            found = self._terms(answer, features, geometry, batch.targets)
            terms |= {name + answer.suffix: value for name, value in found.items()}
        total = torch.stack([self.weights[name.split("_")[0]] * value for name, value in terms.items()]).sum()
        return FrameLosses(terms, total)

    def answers(self, memory: Tensor, pooled_text: Tensor, geometry: FrameGeometry) -> Iterator[Answer]:
        """What all tokens propose, then what each decoder layer says, the last one last."""
        network, head = self.uninext, self.uninext.proposals
        described = head.project_features(memory, geometry)
        chosen = head.select(described, geometry)
        yield Answer(
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
            yield Answer(
                f"_{layer}" if layer + 1 < len(decoded.queries) else "",
                Candidates(
                    logits=network.agreement(queries, pooled_text), boxes=after, centres=before[..., :2].detach()
                ),
                network.iou_head(queries).squeeze(-1),
                queries,
            )

    def _terms(self, answer: Answer, features: Tensor, geometry: FrameGeometry, targets: Targets) -> dict[str, Tensor]:
        """Unweighted losses of one answer, each a mean over stand-ins (summed over candidates for `label`)."""
        candidates, visible = answer.candidates, targets.visible[:, 0]
        chosen = stand_ins(candidates, targets.boxes[:, 0], visible, COSTS)
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
        if answer.iou_logits is not None:
            reached = overlap(boxes.detach(), truth)
            said = answer.iou_logits[images, places]
            terms["overlap"] = binary_cross_entropy_with_logits(said, reached, reduction="sum") / count
        if answer.queries is not None:
            height, width = geometry.image_size
            drawn = self.uninext.dynamic_mask(
                answer.queries[images, places, None],
                candidates.centres[images, places, None] * boxes.new_tensor([width, height]),
                features[images],
            ).flatten(2)  # [P, 1, pixels]
            masks = targets.masks[images, 0, THINNED, THINNED].flatten(1).to(drawn)
            terms["focal"] = mask_focal(drawn, masks).sum() / count
            terms["dice"] = (1 - dice_coefficient(drawn, masks)).sum() / count
        return terms


def _image_size(batch: Batch) -> tuple[int, int]:
    """(H, W) of the frames without their padding.

    Raises:
        TrainingError: see `FrameLearner.forward`.
    """
    frames, padding = batch.frames.shape[1], batch.padding_mask
    if frames != 1:
        raise TrainingError(f"UNINEXT learns from single frames, found clips of {frames}; use a recipe with frames=1")
    if padding is None:
        return batch.frames.shape[-2], batch.frames.shape[-1]
    if (padding != padding[0]).any():
        raise TrainingError(
            f"UNINEXT learns from batches of frames of one size, found others in {'; '.join(batch.names)}"
        )
    seen = ~padding[0, 0]
    return int(seen[:, 0].sum()), int(seen[0].sum())
