"""What reads a query: class head, box head, and the controller that makes its mask. They start as published."""

from torch import nn

from rvos_layers.mlp import MLP

CLASS_PRIOR = -4.595  # a probability of 0.01: few queries are on the object
BOX_PRIOR = -2.0  # a width and height of 0.12


def class_head(channels: int, classes: int) -> nn.Linear:
    """Logits of a query, low at first."""
    head = nn.Linear(channels, classes)
    nn.init.constant_(head.bias, CLASS_PRIOR)
    return head


def box_head(channels: int, layer: int) -> MLP:
    """How a query moves its reference: at first not at all; that of the first layer starts from small boxes."""
    head = MLP(channels, channels, channels, 4)
    nn.init.zeros_(head.last.weight)
    nn.init.zeros_(head.last.bias)
    if layer == 0:
        nn.init.constant_(head.last.bias[2:], BOX_PRIOR)
    return head


def mask_controller(channels: int, parameters: int) -> MLP:
    """What a query supplies to a `DynamicMaskHead`."""
    controller = MLP(channels, channels, channels, parameters)
    for layer in controller.layers:
        assert isinstance(layer, nn.Linear)
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return controller
