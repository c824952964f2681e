"""A query's own convolutions: merged with the convolution before them, or applied one by one."""

import pytest
import torch
from golden_cases import assert_close
from rvos_layers.blocks.dynamic_masks import DynamicMaskHead
from torch import nn
from torch.nn.functional import conv2d

HEAD = DynamicMaskHead(feature_channels=6, hidden_channels=4, layers=3)


def drawn_plainly(features, parameters, centre):
    """One query on one image, convolution by convolution, in the published layout of parameters."""
    rows, columns = torch.meshgrid(*(torch.arange(n) * 4.0 + 2 for n in features.shape[1:]), indexing="ij")
    x = torch.cat([features, (centre[0] - columns)[None], (centre[1] - rows)[None]])
    shapes = [(4, 8), (4, 4), (1, 4)]
    sizes = [out * into for out, into in shapes]
    weights, biases = parameters[: sum(sizes)].split(sizes), parameters[sum(sizes) :].split([4, 4, 1])
    for layer, ((out, into), weight, bias) in enumerate(zip(shapes, weights, biases, strict=True)):
        x = conv2d(x, weight.reshape(out, into, 1, 1), bias)
        x = x.relu() if layer < 2 else x
    return x[0]


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(0)
    parameters = torch.randn(3, 2, HEAD.parameter_count, generator=generator) * 0.3
    return torch.randn(3, 6, 5, 7, generator=generator), parameters, torch.rand(3, 2, 2, generator=generator) * 20


def test_against_plain_convolutions(given):
    features, parameters, centres = given
    masks = HEAD(features, parameters, centres)
    for n in range(3):
        for q in range(2):
            expected = drawn_plainly(features[n], parameters[n, q], centres[n, q])
            assert_close(masks[n, q], expected, layers=3)


def test_merged_with_the_convolution_that_makes_the_features(given):
    _, parameters, centres = given
    torch.manual_seed(1)
    convolution = nn.Conv2d(9, 6, 3, padding=1)
    x = torch.randn(3, 9, 5, 7)
    expected = HEAD(convolution(x), parameters, centres)
    masks = HEAD(x, parameters, centres, feature_conv=convolution)
    assert_close(masks, expected, layers=4)
    masks.sum().backward()
    assert convolution.weight.grad is not None
