"""The encoders compute what torchvision's do, with the same names of parameters."""

import pytest
import torch
from aot_deaot.config import MOBILENET_V2, RESNET50, SwinShape
from aot_deaot.encoder import SwinEncoder, build_encoder
from golden_cases import assert_close
from torch import nn
from torchvision.models import mobilenet_v2, resnet50
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.ops import FrozenBatchNorm2d

IMAGES = torch.randn(2, 3, 129, 97, generator=torch.Generator().manual_seed(0))


def drawn(network: nn.Module) -> nn.Module:
    """The network with statistics and biases that are not neutral, where a mistake would not show."""
    torch.manual_seed(1)
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        if "running_mean" in name or "bias" in name:
            nn.init.normal_(tensor, std=0.2)
    return network.eval()


def test_swin():
    """But for maps of one window, which only ours shifts."""
    shape = SwinShape(embed_dim=16, depths=(2, 2, 2), num_heads=(1, 2, 4), window=4)
    ours = drawn(SwinEncoder(shape))
    theirs = SwinTransformer([4, 4], 16, [2, 2, 2], [1, 2, 4], [4, 4], stochastic_depth_prob=0.0).eval()
    theirs.features.load_state_dict({**theirs.features.state_dict(), **ours.features.state_dict()})
    with torch.no_grad():
        found, x = ours(IMAGES), nn.functional.pad(IMAGES, (0, 3, 0, 3))
        for index, part in enumerate(theirs.features):
            x = part(x)
            if index % 2:
                expected = ours.norms[index // 2](x).permute(0, 3, 1, 2)
                assert_close(found[index // 2], expected, layers=4 * index)


@pytest.mark.parametrize("name", [MOBILENET_V2, RESNET50])
def test_convolutional(name: str):
    ours = drawn(build_encoder(name))
    if name == MOBILENET_V2:
        theirs = mobilenet_v2(norm_layer=FrozenBatchNorm2d).features.eval()
        for index, dilation in ((14, 1), (15, 2), (16, 2), (17, 2)):  # as the published code changes it
            depthwise = theirs.get_submodule(f"{index}.conv.1.0")
            depthwise.stride, depthwise.dilation, depthwise.padding = (1, 1), (dilation,) * 2, (dilation,) * 2
        theirs.load_state_dict(ours.features.state_dict())
        parts = [theirs[:4], theirs[4:7], theirs[7:14], theirs[14:]]
    else:
        whole = resnet50(norm_layer=FrozenBatchNorm2d).eval()
        parts = [nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool), *list(whole.children())[4:7]]
        for part, own in zip(parts, [ours.stem, *ours.stages], strict=True):
            part.load_state_dict(own.state_dict())
    with torch.no_grad():
        found, x, expected = ours(IMAGES), IMAGES, []
        for part in parts:
            x = part(x)
            expected.append(x)
    if name == RESNET50:  # its stem gives no map, and its last map is the deep one
        assert found.deep is found.s16
        found, expected = found[:3], expected[1:]
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, layers=60)
