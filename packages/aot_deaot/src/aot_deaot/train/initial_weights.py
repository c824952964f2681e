"""Initial weights of a propagator, where training starts from no checkpoint."""

import torch
from torch import nn

from aot_deaot.gated_propagation import GatedOutput
from aot_deaot.network import PropagationNetwork

SHAPE = 0.5  # how much of an id's embedding depends on where in the patch its pixels are


def init_weights(network: PropagationNetwork) -> None:
    """Set the weights that a short training depends on, with torch's generator."""
    _init_identity_bank(network)
    for module in network.modules():
        if isinstance(module, GatedOutput):
            _add_identity(module)


def _add_identity(output: GatedOutput) -> None:
    """Let the depth-wise convolution begin as the identity: all that DeAOT's layers find passes through it.

    With random weights it spreads what was found over 5 x 5 tokens, which is most of a small map.
    """
    weight = output.blend.weight
    with torch.no_grad():
        weight[..., weight.shape[-2] // 2, weight.shape[-1] // 2] += 1


def _init_identity_bank(network: PropagationNetwork) -> None:
    """Give every id a direction of its own, whatever the shape of its part of a patch.

    Where an id fills the patch, its embedding is as long as the normalised tokens that it is added to. The published
    bank starts far smaller and without such directions; a long training on top of a trained encoder makes up for that,
    a short one does not.
    """
    bank = network.identity_bank
    area = bank.kernel_size[0] * bank.kernel_size[1]
    with torch.no_grad():
        directions = nn.init.normal_(torch.empty_like(bank.weight[:, :, :1, :1]))
        bank.weight.copy_(directions / area + SHAPE * area**-0.5 * torch.randn_like(bank.weight))
