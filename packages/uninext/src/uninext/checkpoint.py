"""Published checkpoints to this package's names, strictly, without running anything that a file contains.

A published file (`model_final.pth` of `video_joint_vit_huge` or `video_joint_convnext_large`) holds its tensors under
the key `model`, beside the optimizer's. `RULES` says where each of them goes.
"""

import hashlib
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from uninext.config import UninextConfig, ViTConfig
from uninext.errors import CheckpointError
from uninext.model import build_uninext

CONVERTED_SUFFIX = ".safetensors"
FORMAT = "uninext"  # in the metadata of converted files
NAMES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Rule:
    """Where published names go: `{}` stands for a number, a final `*` for the rest of the name.

    Attributes:
        published: pattern of published names.
        ours: what it becomes, with the same signs in the same order; None when dropped.
        reason: why it is dropped.
        row: the published tensor is a one-row table [1, C] of what is [C] here.
    """

    published: str
    ours: str | None
    reason: str = ""
    row: bool = False

    def apply(self, name: str) -> str | None:
        """Our name, or None when the pattern does not fit or the tensor is dropped."""
        found = self.match(name)
        if found is None or self.ours is None:
            return None
        parts = iter(found.groups())
        return re.sub(r"\{\}|\*", lambda _: next(parts), self.ours)

    def match(self, name: str) -> re.Match[str] | None:
        """The match of a published name."""
        pattern = re.escape(self.published).replace(r"\{\}", r"(\d+)").replace(r"\*", r"(.+)")
        return re.fullmatch(pattern, name)


def _drop(published: str, reason: str) -> Rule:
    return Rule(published, None, reason)


def rules(config: UninextConfig) -> tuple[Rule, ...]:
    """The table for one configuration; the first rule that fits a name decides."""
    last, proposal = config.decoder_layers - 1, config.decoder_layers
    transformer = "detr.detr.transformer"
    heads = (f"{transformer}.decoder", "detr.detr")  # the lists of heads are registered under two names each
    backbone = _vit_rules() if isinstance(config.backbone, ViTConfig) else _convnext_rules()
    return (
        _drop("text_encoder.body.model.embeddings.position_ids", "0, 1, 2, ...; saved by transformers before 4.31"),
        Rule("text_encoder.body.model.*", "text_encoder.bert.*"),
        _drop("detr.detr.ref_backbone.*", "backbone of the template branch (object tracking); never built"),
        *backbone,
        Rule("detr.detr.input_proj.{}.{}.*", "pyramid.projections.{}.{}.*"),
        Rule(f"{transformer}.level_embed", "pyramid.level_codes"),
        *(
            Rule(f"{transformer}.encoder.vl_layers.0.b_attn.{published}", f"fusion.{ours}")
            for published, ours in FUSION_NAMES.items()
        ),
        *(
            Rule(f"{transformer}.encoder.layers.{{}}.{published}", f"encoder.{{}}.{ours}")
            for published, ours in ENCODER_LAYER_NAMES.items()
        ),
        *(
            Rule(f"{transformer}.decoder.layers.{{}}.{published}", f"decoder.layers.{{}}.{ours}")
            for published, ours in DECODER_LAYER_NAMES.items()
        ),
        Rule(f"{transformer}.tgt_embed.weight", "decoder.content.weight"),
        *_mlp_rules(f"{transformer}.decoder.ref_point_head", "decoder.position_head"),
        Rule(f"{transformer}.enc_output.*", "proposals.project.*"),
        Rule(f"{transformer}.enc_output_norm.*", "proposals.norm.*"),
        *(rule for head in heads for rule in _head_rules(head, last, proposal)),
        Rule(f"detr.detr.iou_head.{last}.*", "iou_head.*"),
        _drop("detr.detr.iou_head.{}.*", "judges earlier decoder layers; only the last is read"),
        *_mlp_rules("detr.controller", "dynamic_mask.controller"),
        *(Rule(f"detr.mask_head.{published}.*", f"mask_features.{ours}.*") for published, ours in MASK_NAMES.items()),
        _drop(f"{transformer}.resizer.*", "its result is multiplied by zero"),
        _drop("detr.resizer.*", "text for other tasks"),
        _drop("detr.reid_embed_head.*", "embeddings for tracking"),
        _drop("detr.adjust_layer.*", "template branch"),
        _drop("detr.sot_fuser.*", "template branch"),
        _drop("criterion._iter", "training step"),
    )


FUSION_NAMES = {
    "gamma_v": "image_gate",
    "gamma_l": "text_gate",
    "layer_norm_v.*": "image_norm.*",
    "layer_norm_l.*": "text_norm.*",
    "attn.v_proj.*": "image_query.*",
    "attn.l_proj.*": "text_key.*",
    "attn.values_v_proj.*": "image_value.*",
    "attn.values_l_proj.*": "text_value.*",
    "attn.out_v_proj.*": "image_output.*",
    "attn.out_l_proj.*": "text_output.*",
}

ENCODER_LAYER_NAMES = {
    "self_attn.*": "attention.*",
    "norm1.*": "norm.*",
    "linear1.*": "feedforward.expand.*",
    "linear2.*": "feedforward.contract.*",
    "norm2.*": "feedforward.norm.*",
}

DECODER_LAYER_NAMES = {
    "self_attn.*": "among_queries.*",
    "norm2.*": "among_norm.*",  # norm2 follows self-attention, norm1 cross-attention
    "cross_attn.*": "to_image.*",
    "norm1.*": "image_norm.*",
    "linear1.*": "feedforward.expand.*",
    "linear2.*": "feedforward.contract.*",
    "norm3.*": "feedforward.norm.*",
}

MASK_NAMES = {"lay3": "coarse", "lay4": "middle", "jia_dcn": "fine", "lay1": "narrow", "lay2": "output"}


def _head_rules(prefix: str, last: int, proposal: int) -> tuple[Rule, ...]:
    """Class and box heads: one a decoder layer, and one more for the proposals."""
    return (
        Rule(f"{prefix}.class_embed.{proposal}.body.*", "proposals.score.*"),
        Rule(f"{prefix}.class_embed.{last}.log_scale", "agreement.log_scale"),
        Rule(f"{prefix}.class_embed.{last}.bias_lang", "agreement.text_bias"),
        Rule(f"{prefix}.class_embed.{last}.bias0", "agreement.bias"),
        Rule(f"{prefix}.class_embed.{last}.dot_product_projection_text.*", "agreement.project_text.*"),
        _drop(f"{prefix}.class_embed.{{}}.*", "judges earlier decoder layers; only the last is read"),
        *_mlp_rules(f"{prefix}.bbox_embed.{proposal}", "proposals.box"),
        *_mlp_rules(f"{prefix}.bbox_embed.{{}}", "decoder.box_heads.{}"),
    )


def _mlp_rules(published: str, ours: str) -> tuple[Rule, ...]:
    """Our linear layers have the even indices, ReLU lies between."""
    return tuple(Rule(f"{published}.layers.{i}.*", f"{ours}.{2 * i}.*") for i in range(3))


def _vit_rules() -> tuple[Rule, ...]:
    prefix = "detr.detr.backbone.0.backbone"
    return (Rule(f"{prefix}.fpn1.0.*", "backbone.finer.*"), Rule(f"{prefix}.*", "backbone.vit.*"))


def _convnext_rules() -> tuple[Rule, ...]:
    """Norms and layer scales are published as one-row tables `...weight.weight`, `...bias.weight`, `gamma.weight`."""
    prefix = "detr.detr.backbone.0.backbone"
    stem, down = f"{prefix}.downsample_layers.0", f"{prefix}.downsample_layers.{{}}"
    block, ours = f"{prefix}.stages.{{}}.{{}}", "backbone.stages.{}.blocks.{}"
    norms = {
        f"{stem}.1": "backbone.stem.1",
        f"{down}.0": "backbone.stages.{}.downsample.0",
        f"{block}.norm": f"{ours}.norm",
    }
    norms |= {f"{prefix}.norm{i + 1}": f"backbone.norms.{i}" for i in range(3)}
    return (
        Rule(f"{stem}.0.*", "backbone.stem.0.*"),
        *(
            Rule(f"{published}.{kind}.weight", f"{target}.{kind}", row=True)
            for published, target in norms.items()
            for kind in ("weight", "bias")
        ),
        Rule(f"{down}.1.*", "backbone.stages.{}.downsample.1.*"),
        Rule(f"{block}.gamma.weight", f"{ours}.gamma", row=True),
        Rule(f"{block}.dwconv.*", f"{ours}.conv_dw.*"),
        Rule(f"{block}.pwconv1.*", f"{ours}.mlp.fc1.*"),
        Rule(f"{block}.pwconv2.*", f"{ours}.mlp.fc2.*"),
    )


def convert_state_dict(published: Mapping[str, Tensor], config: UninextConfig) -> dict[str, Tensor]:
    """Rename a published state dict; what the network does not need is dropped as the table says.

    Raises:
        CheckpointError: a name that no rule knows, or two names of one tensor with different values.
    """
    table = rules(config)
    converted: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, tensor in published.items():
        rule = next((rule for rule in table if rule.match(name)), None)
        if rule is None:
            unknown.append(name)
            continue
        target = rule.apply(name)
        if target is None:
            continue
        value = tensor[0] if rule.row and tensor.ndim == 2 and len(tensor) == 1 else tensor
        if target in converted and not torch.equal(converted[target], value):
            raise CheckpointError(f"{name} is a second name of {target}, but its values differ from the first one's")
        converted.setdefault(target, value)
    if unknown:
        raise CheckpointError(f"not names of a published {config.name} checkpoint: {_some(unknown)}")
    return converted


def check_weights(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str) -> None:
    """See that weights (our names) fit a network: every name, every shape, finite numbers.

    Raises:
        CheckpointError: lists what is missing, unexpected or wrong.
    """
    wrong = [
        f"{name} {fault}" for name in expected if name in weights and (fault := _fault(weights[name], expected[name]))
    ]
    faults = {
        "missing": [name for name in expected if name not in weights],
        "unexpected": [name for name in weights if name not in expected],
        "wrong": wrong,
    }
    if any(faults.values()):
        listed = "; ".join(f"{kind}: {_some(names)}" for kind, names in faults.items() if names)
        raise CheckpointError(
            f"{source} does not fit the configuration; check that the file belongs to this backbone; {listed}"
        )


def _fault(tensor: Tensor, expected: Tensor) -> str | None:
    if tensor.shape != expected.shape:
        return f"has shape {tuple(tensor.shape)}, expected {tuple(expected.shape)}"
    if not tensor.is_floating_point():
        return f"holds {tensor.dtype}, expected floating point numbers"
    return None if tensor.isfinite().all() else "holds numbers that are not finite"


class Unallocated(TorchFunctionMode):
    """Inside this context most parameters are made without memory and without drawing random numbers.

    For networks that are about to be filled by `load_weights`: building ViT-H takes half a minute otherwise.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return func(*args, **(kwargs | {"device": "meta"} if func is torch.empty else kwargs))


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Put weights (our names) into a network, strictly.

    The network takes over the tensors themselves (weights that are mapped from a file are not copied) and is on their
    device afterwards, in float32, without gradients.

    Raises:
        CheckpointError: see `check_weights`.
    """
    check_weights(weights, network.state_dict(), source)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    network.requires_grad_(False)


def read_weights(path: Path, config: UninextConfig) -> dict[str, Tensor]:
    """Weights under our names from a published or a converted file.

    Raises:
        CheckpointError: unreadable, refused, or not of this configuration.
    """
    if path.suffix == CONVERTED_SUFFIX:
        return _read_converted(path, config)
    return convert_state_dict(read_published(path), config)


def read_published(path: Path) -> dict[str, Tensor]:
    """The state dict in a file written by torch, read without running code; tensors are mapped, not loaded.

    Raises:
        CheckpointError: unreadable, holding more than plain data, or without a state dict.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is refused: besides tensors it holds objects whose loading could run code "
            f"({_first_line(error)}). Get the file from its publisher, or save only its `model` entry again"
        ) from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    except (RuntimeError, EOFError, KeyError, ValueError, IndexError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path} is no checkpoint that torch can read: {_first_line(error)}") from error
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        found = f"keys {_some(list(map(str, content)))}" if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path} holds no state dict under `model`; found {found}")
    return state


def convert_file(source: Path, target: Path, config: UninextConfig) -> None:
    """Write a published checkpoint as safetensors under our names, after checking that it fits.

    The metadata says which configuration it is and which file (SHA-256) it was made from.

    Raises:
        CheckpointError: the source cannot be read or does not fit, or the target cannot be written.
    """
    if target.suffix != CONVERTED_SUFFIX:
        raise CheckpointError(f"{target}: a converted checkpoint is a *{CONVERTED_SUFFIX} file")
    weights = convert_state_dict(read_published(source), config)
    with Unallocated():
        expected = build_uninext(config).state_dict()
    check_weights(weights, expected, str(source))
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    save_weights(target, weights, config, digest)


def save_weights(target: Path, weights: Mapping[str, Tensor], config: UninextConfig, source_sha256: str = "") -> None:
    """Write weights (our names) as safetensors in float32, whole or not at all.

    Raises:
        CheckpointError: the target cannot be written.
    """
    metadata = {"format": FORMAT, "config": config.name, "source_sha256": source_sha256}
    partial = target.with_name(f".{target.name}.partial")
    try:
        save_file({name: tensor.float().cpu().contiguous() for name, tensor in weights.items()}, partial, metadata)
        partial.replace(target)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"cannot write {target}: {_first_line(error)}") from error


def _read_converted(path: Path, config: UninextConfig) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path} is not a converted UNINEXT checkpoint: its metadata is {metadata}; "
                    "`uninext-infer checkpoint convert` writes one from a published file"
                )
            if metadata.get("config") != config.name:
                raise CheckpointError(
                    f"{path} was converted for {metadata.get('config')}, the configuration asked for is {config.name}"
                )
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read {path}: {_first_line(error)}") from error


def _some(names: Iterable[str]) -> str:
    """A few names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - NAMES_SHOWN} more" if len(listed) > NAMES_SHOWN else ""
    return ", ".join(listed[:NAMES_SHOWN]) + more


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
