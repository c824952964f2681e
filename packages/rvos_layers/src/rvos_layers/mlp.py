"""The small perceptron behind box heads and mask controllers."""

from itertools import pairwise

from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with ReLU between them, none after the last.

    Args:
        widths: sizes from input to output, e.g. `(256, 256, 256, 4)` for three layers.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(narrow, wide) for narrow, wide in pairwise(widths))

    @property
    def last(self) -> nn.Linear:
        """The output layer, which models initialise in ways of their own."""
        layer = self.layers[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., widths[0]]` to `[..., widths[-1]]`."""
        *hidden, last = self.layers
        for layer in hidden:
            x = layer(x).relu()
        return last(x)
