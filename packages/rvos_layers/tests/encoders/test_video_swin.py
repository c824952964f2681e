"""The streamed backbone must equal torchvision's own blocks, also on awkward sizes."""

from functools import partial

import pytest
import torch
from golden_cases import StageReport, assert_close
from program_kit.torch import memory
from rvos_layers.encoders.config import VideoSwinConfig
from rvos_layers.encoders.video_swin import VideoSwin
from rvos_layers.encoders.windows import WindowLayout
from torch import nn
from torchvision.models.video.swin_transformer import SwinTransformer3d

SMALL = VideoSwinConfig(hidden_size=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), window=(4, 5, 5), mlp_ratio=2.0)
LAYERS = 2 * sum(SMALL.depths)  # an attention and a feed-forward network a block
SIZES = [
    (1, 1, 97, 33),  # one frame, a side of one patch more than a multiple
    (1, 3, 98, 130),  # shorter than the window
    (1, 4, 80, 80),  # exactly the window, no padding
    (2, 5, 61, 45),  # one frame more than the window, two clips
    (1, 11, 70, 94),  # no multiple of the window
    (1, 8, 16, 24),  # maps smaller than the window
]


@pytest.fixture(scope="module")
def backbone() -> VideoSwin:
    torch.manual_seed(0)
    model = VideoSwin(SMALL).eval()
    for name, parameter in model.named_parameters():
        if "bias" in name:  # tables and biases start near zero, where a mistake would not show
            nn.init.normal_(parameter, std=0.5)
    return model


def stock(model: VideoSwin, frames: torch.Tensor) -> list[torch.Tensor]:
    """Stage outputs of an untouched torchvision network with the same weights."""
    network = SwinTransformer3d(
        patch_size=list(SMALL.patch),
        embed_dim=SMALL.hidden_size,
        depths=list(SMALL.depths),
        num_heads=list(SMALL.num_heads),
        window_size=list(SMALL.window),
        mlp_ratio=SMALL.mlp_ratio,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
    ).eval()
    network.patch_embed.load_state_dict(model.patch_embed.state_dict())
    for index, (ours, theirs) in enumerate(zip(model.stages, network.features[0::2], strict=True)):
        theirs.load_state_dict({**theirs.state_dict(), **ours.state_dict()})
        if index:
            network.features[2 * index - 1].load_state_dict(model.merges[index - 1].state_dict())
    maps = []
    with torch.no_grad():
        x = network.patch_embed(frames.transpose(1, 2))
        for index, layer in enumerate(network.features):
            x = layer(x)
            if index % 2 == 0:
                maps.append(x.permute(0, 1, 4, 2, 3))
    return maps


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("bytes_at_once", [1, 2**16, 2**28], ids=["window by window", "some", "all at once"])
def test_equals_torchvision(backbone, size, bytes_at_once, monkeypatch):
    monkeypatch.setattr(memory, "group_bytes", lambda device: bytes_at_once)
    clips, frames, height, width = size
    clip = torch.randn(clips, frames, 3, height, width, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = backbone(clip)
    report = StageReport(f"clip of {size}", LAYERS)
    for stage, (actual, expected) in enumerate(zip(ours, stock(backbone, clip), strict=True)):
        assert actual.shape == expected.shape
        report.add(f"stage {stage}", actual, expected)
    report.check()


def test_equals_its_own_path_with_gradients(backbone):
    clip = torch.randn(1, 6, 3, 50, 70, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        streamed = backbone(clip)
    with_gradients = backbone(clip)
    assert with_gradients[-1].requires_grad
    for actual, expected in zip(streamed, with_gradients, strict=True):
        assert_close(actual, expected, LAYERS)


def test_a_position_bias_matters(backbone):
    """Control: the comparison above would see one wrong table entry."""
    clip = torch.randn(1, 5, 3, 60, 60, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        before = backbone(clip)[0]
        table = backbone.stages[0][1].attn.relative_position_bias_table
        table[len(table) // 2] += 1
        after = backbone(clip)[0]
        table[len(table) // 2] -= 1
    assert (before - after).abs().max() > 1e-3


def test_slabs_partition_time(backbone):
    block = backbone.stages[0][1]
    for length in range(1, 14):
        for at_once in (1, 8, 100):
            slabs = WindowLayout.of((length, 9, 9), block.window, block.shift).slabs(at_once)
            frames = [frame for slab in slabs for part in slab.frames for frame in range(length)[part]]
            assert sorted(frames) == list(range(length))


def test_refuses_to_join_frames():
    with pytest.raises(ValueError, match="temporal size must be 1"):
        VideoSwinConfig(patch=(2, 4, 4))
