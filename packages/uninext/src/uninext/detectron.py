"""UNINEXT for users of detectron2: configuration nodes, registered models, checkpointer, predictor of images.

    cfg = uninext_cfg("convnext-l")
    cfg.MODEL.WEIGHTS = "model_final.pth"
    predictor = ReferringImagePredictor(cfg)
    instances = predictor(bgr_image, ["the brown dog", "a person in red"])["instances"]

For videos see `uninext.UNINEXTPredictor`. Only this file knows detectron2's registries, configuration system and
checkpointer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode, get_cfg
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, build_model
from detectron2.modeling import build_backbone as build_registered_backbone
from detectron2.structures import Boxes, Instances
from program_kit.errors import CheckpointError
from program_kit.origin import Origin
from program_kit.torch.checkpoint.model_checkpoints import Unallocated
from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.torch.device import choose_device
from rvos_layers.encoders.tokenizer import AUTO, Tokenizer
from torch import Tensor

from uninext.backbone import PyramidBackbone, build_backbone
from uninext.checkpoint import CHECKPOINTS
from uninext.config import (
    ConvNeXtConfig,
    ImageConfig,
    TextConfig,
    UninextConfig,
    ViTConfig,
    named_config,
)
from uninext.errors import ConfigError
from uninext.geometry import frame_geometry
from uninext.model import Uninext
from uninext.predict import predict_frame
from uninext.preprocess import FramePreprocessor, as_pixels, load_tokenizer
from uninext.text_encoder import cut_padding

# --- configuration ----------------------------------------------------------------------------------------------------


def add_uninext_config(cfg: CfgNode, config: UninextConfig | None = None) -> None:
    """Add `MODEL.UNINEXT` to a detectron2 configuration and set its own keys for UNINEXT.

    Frame size and normalisation stay where detectron2 users look for them: `INPUT.MIN_SIZE_TEST`,
    `INPUT.MAX_SIZE_TEST`, `MODEL.PIXEL_MEAN`, `MODEL.PIXEL_STD`.
    """
    config = config or named_config("convnext-l")
    node = _node(config)
    image = node.pop("IMAGE")
    node.TOKENIZER = AUTO
    cfg.MODEL.UNINEXT = node
    cfg.MODEL.META_ARCHITECTURE = ReferringUninext.__name__
    cfg.MODEL.BACKBONE.NAME = build_uninext_backbone.__name__
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TEST = image.SHORT_SIDE
    cfg.INPUT.MAX_SIZE_TEST = image.LONG_SIDE_LIMIT
    cfg.MODEL.PIXEL_MEAN = list(image.MEAN)
    cfg.MODEL.PIXEL_STD = list(image.STD)


def uninext_cfg(name: str) -> CfgNode:
    """detectron2's configuration for a named network; on the CPU if there is no GPU.

    Raises:
        ConfigError: no such name.
    """
    cfg = get_cfg()
    add_uninext_config(cfg, named_config(name))
    cfg.MODEL.DEVICE = str(choose_device("auto"))
    return cfg


def config_of(cfg: CfgNode) -> UninextConfig:
    """The `UninextConfig` that a detectron2 configuration describes.

    Raises:
        ConfigError: a key is missing or unknown, or no network can have its value.
    """
    if "UNINEXT" not in cfg.MODEL:
        raise ConfigError("the configuration has no MODEL.UNINEXT; start from `uninext_cfg(name)`")
    if cfg.INPUT.FORMAT != "RGB":
        raise ConfigError(f"INPUT.FORMAT: expected 'RGB', found {cfg.INPUT.FORMAT!r}")
    values = {key.lower(): value for key, value in cfg.MODEL.UNINEXT.items() if key != "TOKENIZER"}
    backbone = ViTConfig if "PATCH_SIZE" in cfg.MODEL.UNINEXT.BACKBONE else ConvNeXtConfig
    values["backbone"] = _record(backbone, values["backbone"])
    values["text"] = _record(TextConfig, values["text"])
    values["image"] = ImageConfig(
        short_side=cfg.INPUT.MIN_SIZE_TEST,
        long_side_limit=cfg.INPUT.MAX_SIZE_TEST,
        mean=tuple(cfg.MODEL.PIXEL_MEAN),
        std=tuple(cfg.MODEL.PIXEL_STD),
    )
    return _record(UninextConfig, values)


def _node(record: Any) -> CfgNode:
    """A dataclass as a configuration node, with field names in upper case."""
    return CfgNode(_upper(asdict(record)))


def _upper(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.upper(): _upper(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _record(kind: type, values: Mapping[str, Any]) -> Any:
    """A dataclass from a configuration node; lists, as YAML gives them, become tuples."""
    given = {name.lower(): tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    if unknown := given.keys() - {field.name for field in fields(kind)}:
        raise ConfigError(f"unknown keys for {kind.__name__}: {', '.join(sorted(map(str.upper, unknown)))}")
    return kind(**given)


# --- registered models ------------------------------------------------------------------------------------------------


@BACKBONE_REGISTRY.register()
def build_uninext_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> PyramidBackbone:
    """ConvNeXt or ViT, as `MODEL.UNINEXT.BACKBONE` says."""
    return build_backbone(config_of(cfg).backbone)


@META_ARCH_REGISTRY.register()
class ReferringUninext(Uninext):
    """The network with detectron2's calling convention."""

    def __init__(self, cfg: CfgNode) -> None:
        backbone = build_registered_backbone(cfg)
        assert isinstance(backbone, PyramidBackbone)
        super().__init__(config_of(cfg), backbone)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.pyramid.level_codes.device

    @torch.inference_mode()
    def forward(self, batched_inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Instances]]:
        """Segment images.

        Args:
            batched_inputs: one record for each image, with

                - `image`: [3, h, w] RGB in 0..255, already resized;
                - `height`, `width`: of the result;
                - `input_ids`, `padding_mask`: int64 and bool [E, N], the tokens of E expressions.

        Returns:
            One record for each image, with `instances`: the top instance of each expression, E in all, in their order.
            Fields: `pred_boxes` (pixels of the result), `scores` [E], `pred_masks` bool [E, height, width] and
            `mask_probabilities` float32 of the same shape.
        """
        return [{"instances": self._instances(record)} for record in batched_inputs]

    def _instances(self, record: Mapping[str, Any]) -> Instances:
        image, size = record["image"], (record["height"], record["width"])
        geometry = frame_geometry((image.shape[-2], image.shape[-1]), self.config.hidden_size, self.device)
        pixels = FramePreprocessor(self.config.image).normalise(image.to(self.device))
        frame = self.encode_frame(pixels, geometry)
        tokens = cut_padding(record["input_ids"], record["padding_mask"])
        text = self.encode_text(*(tensor.to(self.device) for tensor in tokens))
        parts = list(predict_frame(self, frame, text, size))
        probabilities = torch.cat([part.probabilities for part in parts])
        boxes = torch.cat([part.boxes for part in parts])
        instances = Instances(size)
        instances.pred_boxes = Boxes(_corners(boxes, size))
        instances.scores = torch.cat([part.scores for part in parts])
        instances.pred_masks = probabilities > 0.5
        instances.mask_probabilities = probabilities
        return instances


def _corners(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (cx, cy, w, h) in 0..1 to (x0, y0, x1, y1) in pixels."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([centre - half, centre + half], -1) * boxes.new_tensor([size[1], size[0]]).repeat(2)


# --- weights ----------------------------------------------------------------------------------------------------------


class UninextCheckpointer(DetectionCheckpointer):
    """detectron2's checkpointer for published and converted files; every name and shape must fit.

    It runs no code from a file and copies no tensors if the model is on the CPU.
    """

    model: ReferringUninext

    def _load_file(self, filename: str) -> dict[str, Any]:
        return {"model": read_checkpoint(Path(filename))}

    def _load_model(self, checkpoint: dict[str, Any]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - None: nothing left to report
        device, config = self.model.device, self.model.config
        CHECKPOINTS.with_config(config.name, config).fill(self.model, checkpoint.pop("model"), config.name)
        self.model.requires_grad_(False)
        if device.type != "meta":
            self.model.to(device)


def build_network(cfg: CfgNode, seed: int | None = None) -> ReferringUninext:
    """Build the network of a configuration, in evaluation mode, with the weights of `MODEL.WEIGHTS`.

    Args:
        cfg: from `uninext_cfg`.
        seed: of random weights instead of those of a file.

    Raises:
        CheckpointError: the file cannot be read, or does not fit.
        DeviceError: this machine does not have `MODEL.DEVICE`.
    """
    choose_device(cfg.MODEL.DEVICE)
    if seed is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_model(cfg).requires_grad_(False)
    else:
        if not cfg.MODEL.WEIGHTS:
            raise CheckpointError("MODEL.WEIGHTS is empty; set it to a checkpoint file")
        with Unallocated():
            network = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)  # as `build_model`, before any `.to`
        UninextCheckpointer(network).load(cfg.MODEL.WEIGHTS)
        network.to(cfg.MODEL.DEVICE)
    return network.eval()


# --- prediction -------------------------------------------------------------------------------------------------------


class ReferringImagePredictor:
    """Segments one image, like detectron2's `DefaultPredictor`, with expressions besides.

    Args:
        cfg: from `uninext_cfg`, with `MODEL.WEIGHTS` set.
        tokenizer: by default the one named by `MODEL.UNINEXT.TOKENIZER`.
    """

    def __init__(self, cfg: CfgNode, tokenizer: Tokenizer | None = None) -> None:
        self.cfg = cfg.clone()
        self.model = build_network(self.cfg)
        self.tokenizer = tokenizer or load_tokenizer(
            cfg.MODEL.UNINEXT.TOKENIZER, self.model.config.text, origin=Origin.read(Path(cfg.MODEL.WEIGHTS))
        )
        self.aug = ResizeShortestEdge([cfg.INPUT.MIN_SIZE_TEST] * 2, cfg.INPUT.MAX_SIZE_TEST)

    def __call__(self, original_image: npt.NDArray[np.uint8], expressions: Sequence[str]) -> dict[str, Instances]:
        """Segment one image uint8 [H, W, 3] in BGR, as OpenCV and detectron2 read it.

        Returns:
            A dictionary with `instances`, see `ReferringUninext.forward`.
        """
        rgb = np.ascontiguousarray(original_image[:, :, ::-1])
        height, width = rgb.shape[:2]
        resized = self.aug.get_transform(rgb).apply_image(rgb)
        tokens = self.tokenizer(expressions)
        record = {
            "image": as_pixels(resized),
            "height": height,
            "width": width,
            "input_ids": tokens.input_ids,
            "padding_mask": tokens.padding_mask,
        }
        return self.model([record])[0]
