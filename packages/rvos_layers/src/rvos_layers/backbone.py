"""Backbones by their configuration."""

from rvos_layers.resnet import ResNet, ResNetConfig
from rvos_layers.video_swin import VideoSwin, VideoSwinConfig

BackboneConfig = VideoSwinConfig | ResNetConfig

BACKBONES: dict[str, BackboneConfig] = {
    "video-swin-b": VideoSwinConfig(),
    "video-swin-s": VideoSwinConfig(channels=96, heads=(3, 6, 12, 24)),
    "video-swin-t": VideoSwinConfig(channels=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24)),
    "resnet-50": ResNetConfig(),
}


def build_backbone(config: BackboneConfig) -> VideoSwin | ResNet:
    """A network whose `stages_of(frames)` yields maps of strides 4, 8, 16 and 32."""
    match config:
        case VideoSwinConfig():
            return VideoSwin(config)
        case ResNetConfig():
            return ResNet(config)
