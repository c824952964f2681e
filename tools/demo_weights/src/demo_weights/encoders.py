"""What encoders of text and vision are trained on before they see a mask: which words, which looks, which object.

Masks alone are a poor teacher of words and shapes: after hours all sentences had nearly the same features. Here every
word, every claim of an expression and every attribute of an object is told from the features of its encoder; and an
expression chooses its object among all of the frame, by pixels that have taken up its words by the network's own
attention.
"""

from dataclasses import dataclass
from typing import Any

import torch
from rvos_layers.encoders.text import TextFeatures
from rvos_layers.encoders.video_features import VideoFeatures
from rvos_synthetic.grammar import WORDS
from rvos_training.loop.contract import ModelWithLoss
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from demo_weights.choice import LEVELS, pool_objects
from demo_weights.scenes import LOOKS, UNKNOWN, SceneBatch

PLACE = 32  # width of what sentence and centre are compared in


@dataclass(frozen=True, slots=True)
class EncoderLosses:
    """Losses of one batch; `total` is the sum of the losses among the terms."""

    terms: dict[str, Tensor]
    total: Tensor


class EncodersWithLoss(ModelWithLoss):
    """The encoders of SOC, ReferFormer or MUTR and the attention of their pixels to words, with losses of choices.

    Args:
        network: the whole network; its other parts stay as they are.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        width, words = network.video.hidden_size, network.text.roberta.embeddings.word_embeddings.num_embeddings
        self.auxiliary = nn.ModuleDict(
            {
                "fused": nn.ModuleList(nn.Linear(width, 1) for _ in range(LEVELS)),
                "sentence": nn.Linear(width, PLACE),
                "centre": nn.Sequential(nn.Linear(2, 2 * PLACE), nn.ReLU(), nn.Linear(2 * PLACE, PLACE)),
                "looks": nn.ModuleList(nn.Linear(LEVELS * width, len(WORDS[name])) for name in LOOKS),
                "claims": nn.ModuleList(nn.Linear(width, len(values) + 1) for values in WORDS.values()),
                "word": nn.Linear(width, words),
            }
        )

    def forward(self, batch: SceneBatch) -> EncoderLosses:
        """Losses of a batch; `chosen` and `right_<attribute>` are fractions of right answers."""
        network: Any = self.network
        video, text = network.encode_video(batch.cuts), network.encode_text(batch.tokens)
        scores = self._scores(video, text, batch)
        looks = torch.cat([pool_objects(level.float(), batch.masks)[:, 0] for level in video.levels], 1)
        losses = {
            "choice": cross_entropy(scores, batch.meant),
            "looks": self._of_classes("looks", looks, batch.looks),
            "claims": self._of_classes("claims", text.sentence, batch.claims),
            "words": self._of_words(text, batch.tokens.input_ids),
        }
        with torch.no_grad():
            found = {"chosen": (scores.argmax(1) == batch.meant).float().mean()}
            for name, head, truth in zip(LOOKS, self._heads("looks"), batch.looks.unbind(1), strict=True):
                known = truth != UNKNOWN
                right = head(looks).argmax(1) == truth
                found[f"right_{name}"] = (right & known).sum() / known.sum().clamp(min=1)
        return EncoderLosses(losses | found, torch.stack(list(losses.values())).sum())

    def _heads(self, name: str) -> nn.ModuleList:
        assert isinstance(self.auxiliary, nn.ModuleDict)
        heads = self.auxiliary[name]
        assert isinstance(heads, nn.ModuleList)
        return heads

    def _scores(self, video: VideoFeatures, text: TextFeatures, batch: SceneBatch) -> Tensor:
        """How well every object fits every expression, [E, O]; minus infinity for objects of other frames."""
        network: Any = self.network
        assert isinstance(self.auxiliary, nn.ModuleDict)
        expressions, objects = (batch.about[:, None] == batch.scenes).nonzero(as_tuple=True)
        words, masks = text[expressions], batch.masks[objects]
        sentence, centre = self.auxiliary["sentence"](text.sentence), self.auxiliary["centre"](batch.centres)
        scores = (sentence[expressions] * centre[objects]).sum(-1)
        for readout, level in zip(self._heads("fused"), video.levels, strict=True):
            fused = network.queries.fuse_words(level[objects], words)
            scores = scores + readout(pool_objects(fused.float(), masks)[:, 0])[:, 0]
        others = scores.new_full((len(text), len(batch.scenes)), -torch.inf)
        return others.index_put((expressions, objects), scores)

    def _of_classes(self, name: str, features: Tensor, truth: Tensor) -> Tensor:
        """Sum over attributes of the cross entropy of their heads, each a mean over what is known."""
        total = features.new_zeros(())
        for head, one in zip(self._heads(name), truth.unbind(1), strict=True):
            known = one != UNKNOWN
            total = total + cross_entropy(head(features[known]), one[known], reduction="sum") / known.sum().clamp(min=1)
        return total

    def _of_words(self, text: TextFeatures, ids: Tensor) -> Tensor:
        """Cross entropy of telling each word from its feature."""
        assert isinstance(self.auxiliary, nn.ModuleDict)
        words = ~text.padding_mask
        return cross_entropy(self.auxiliary["word"](text.words[words]), ids[words])
