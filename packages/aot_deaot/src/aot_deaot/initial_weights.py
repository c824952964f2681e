"""Weights that a propagator's training starts from, where no checkpoint is given."""

from torch import nn

from aot_deaot.network import PropagationNetwork


def draw_identity_bank(network: PropagationNetwork) -> None:
    """Draw the identity bank anew, from torch's generator.

    A patch that one id fills is embedded with unit variance, as large as the normed tokens that it is added to. The
    published bank starts far smaller, which a long training on top of a trained encoder makes up for and a short one
    does not.
    """
    rows, columns = network.identity_bank.kernel_size
    nn.init.normal_(network.identity_bank.weight, std=(rows * columns) ** -0.5)
