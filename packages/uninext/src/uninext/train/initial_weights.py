"""What a network is before it has learned anything: as torch draws it, but for the heads and the fusion's gates."""

import math

import torch
from torch import nn

from uninext.deformable_transformer import MLP
from uninext.model import Uninext

PRIOR = 0.01  # how likely any token is to be the object


@torch.no_grad()
def settle(network: Uninext) -> None:
    """Make heads begin where they do no harm: boxes stay at their anchors, few tokens are proposed.

    Source: DETR's and DINO's initialisation of box and class heads, as UNINEXT has it. Its fusion is almost shut at
    first, to spare what image and text encoder know; as here they know nothing, it is open.
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
