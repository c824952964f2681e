"""Weights that a propagator's training starts from, where no checkpoint is given."""

import torch
from torch import nn

from aot_deaot.gated_propagation import GatedOutput
from aot_deaot.network import PropagationNetwork

SHAPE = 0.5  # how much of an id's embedding tells where in the patch its pixels are


def prepare(network: PropagationNetwork) -> None:
    """Draw what a short training depends on anew, from torch's generator."""
    _draw_identity_bank(network)
    for module in network.modules():
        if isinstance(module, GatedOutput):
            _keep_in_place(module)


def _keep_in_place(output: GatedOutput) -> None:
    """What DeAOT's layers find passes a depth-wise convolution and nothing else; let it begin as the identity.

    With random weights it scatters what was found over 5 x 5 tokens, most of a small map.
    """
    weight = output.blend.weight
    with torch.no_grad():
        weight[..., weight.shape[-2] // 2, weight.shape[-1] // 2] += 1


def _draw_identity_bank(network: PropagationNetwork) -> None:
    """Every id has a direction of its own, whatever the shape of its part of a patch; where it fills the patch, its
    embedding is as long as the normed tokens that it is added to. The published bank starts far smaller and without
    such directions, which a long training on top of a trained encoder makes up for and a short one does not.
    """
    bank = network.identity_bank
    area = bank.kernel_size[0] * bank.kernel_size[1]
    with torch.no_grad():
        directions = nn.init.normal_(torch.empty_like(bank.weight[:, :, :1, :1]))
        bank.weight.copy_(directions / area + SHAPE * area**-0.5 * torch.randn_like(bank.weight))
