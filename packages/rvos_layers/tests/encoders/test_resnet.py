"""The ResNet backbone is torchvision's, whatever the number of frames worked on at once."""

import pytest
import torch
from golden_cases import assert_close
from rvos_layers.encoders import resnet
from rvos_layers.encoders.config import ResNetConfig
from rvos_layers.encoders.resnet import ResNet
from torch.nn.init import normal_
from torchvision.models import resnet50
from torchvision.ops import FrozenBatchNorm2d

SMALL = ResNetConfig(depths=(1, 1, 1, 1))


@pytest.fixture(scope="module")
def network() -> ResNet:
    torch.manual_seed(0)
    network = ResNet(SMALL).eval()
    for name, buffer in network.named_buffers():  # frozen statistics start neutral, where a mistake would not show
        if "var" not in name:
            normal_(buffer, mean=1 if name.endswith("weight") else 0, std=0.1)
    return network


@pytest.mark.parametrize("at_once", [1, 3])
def test_frames_are_independent_of_how_many_are_worked_on_at_once(network, at_once, monkeypatch):
    frames = torch.randn(2, 4, 3, 50, 71, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = network(frames)
        monkeypatch.setattr(resnet, "rows_at_once", lambda device, row_bytes: at_once)
        pieces = network(frames)
    for stage, (a, b) in enumerate(zip(whole, pieces, strict=True)):
        assert a.shape == (2, 4, SMALL.stage_channels[stage], *((s + 3) // 4 for s in (50, 71))) or stage
        assert_close(a, b, layers=13)


def test_is_torchvisions_resnet_50():
    ours, theirs = ResNet(ResNetConfig()).eval(), resnet50(norm_layer=FrozenBatchNorm2d).eval()
    theirs.load_state_dict(
        {
            name: ours.state_dict()[f"stem.{['conv1', 'bn1'].index(first)}.{rest}"]
            if (first := name.split(".")[0]) in ("conv1", "bn1") and (rest := name.split(".", 1)[1])
            else ours.state_dict()[f"stages.{int(first[-1]) - 1}.{name.split('.', 1)[1]}"]
            for name in theirs.state_dict()
            if not name.startswith("fc.")
        },
        strict=False,
    )
    frames = torch.randn(1, 1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(frames[0]))))
        for stage, layer in zip(
            ours(frames), (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4), strict=True
        ):
            x = layer(x)
            assert_close(stage[0], x, layers=50)
