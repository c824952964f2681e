"""Initial weights of UNINEXT: torch's own, except for the heads and the gates of the fusion."""

import math

import torch
from torch import nn

from uninext.deformable_transformer import MLP
from uninext.model import Uninext

PRIOR = 0.01  # initial probability of a token to be the object


@torch.no_grad()
def init_weights(network: Uninext) -> None:
    """Set the heads so that boxes stay at their anchors and few tokens are proposed.

    Source: DETR's and DINO's initialisation of box and class heads, as in UNINEXT. Its gates of the fusion are almost
    closed at first, to protect pretrained encoders. Here encoders are not pretrained, and the gates are open.
    """
    for head in (network.proposals.box, *network.decoder.box_heads):
        assert isinstance(head, MLP)
        last = head[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    nn.init.constant_(network.proposals.score.bias, math.log(PRIOR / (1 - PRIOR)))
    for gate in (network.fusion.image_gate, network.fusion.text_gate):
        nn.init.ones_(gate)
