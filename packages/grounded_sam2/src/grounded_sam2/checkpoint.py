"""Networks from the folders in which they are published, in the form of transformers: `config.json` and weights.

Nothing is fetched and nothing in a file is executed. Loading is strict: the configuration must be that of the network
asked for, and every tensor must be there, of its shape and finite, with none to spare.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from mask_interchange.json_files import parse_json
from program_kit.errors import CheckpointError
from program_kit.torch.checkpoint.reading import read_checkpoint
from transformers import (
    AutoTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    PreTrainedConfig,
    PreTrainedModel,
    Sam2VideoConfig,
    Sam2VideoModel,
)

from grounded_sam2.config import GROUNDING_DINO, SAM2, GroundingDINOShape, SAM2Shape

CONFIG, WEIGHTS = "config.json", "model.safetensors"
NAMES_SHOWN = 10

S = TypeVar("S")
C = TypeVar("C", bound=PreTrainedConfig)
N = TypeVar("N", bound=PreTrainedModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published(Generic[S, C, N]):
    """The published networks of one model.

    Attributes:
        network: its class.
        config: the class of its configurations.
        shapes: its configurations by name.
        build_config: makes a configuration of a shape.
        identity: what tells configurations apart.
        page: where a user finds its folders, by the name of a configuration.
    """

    network: type[N]
    config: type[C]
    shapes: Mapping[str, S]
    build_config: Callable[[S], C]
    identity: Callable[[C], object]
    page: Callable[[str], str]

    def remedy(self, name: str) -> str:
        """What a user can do about a folder that is not that of a configuration, as the end of a sentence."""
        return f"`uv run fusion-core weights fetch {name}` fetches its files from {self.page(name)}"

    def load(self, name: str, folder: Path | None, seed: int | None) -> N:
        """A network for inference with the weights of a folder, or without one of a seed.

        Raises:
            CheckpointError: a file is missing or damaged, or is of another network; lists the tensors that do not fit.
        """
        if folder is not None:
            return self._from_folder(name, folder)
        assert seed is not None  # one of the two
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.network(self.build_config(self.shapes[name])).eval().requires_grad_(False)

    def _from_folder(self, name: str, folder: Path) -> N:
        missing = [file for file in (CONFIG, WEIGHTS) if not (folder / file).is_file()]
        if missing:
            raise CheckpointError(
                f"{folder}: expected a folder with {CONFIG} and {WEIGHTS} of {name}, "
                f"found no {' and no '.join(missing)}; {self.remedy(name)}"
            )
        config = self._read_config(name, folder / CONFIG)
        state = read_checkpoint(folder / WEIGHTS).state
        found: Any = self.network.from_pretrained(
            None, config=config, state_dict=state, ignore_mismatched_sizes=True, output_loading_info=True
        )
        network, loaded = found
        faults = {
            "missing": sorted(loaded["missing_keys"]),
            "unknown": sorted(loaded["unexpected_keys"]),
            "of another shape": [
                f"{name}: expected {list(expected)}, found {list(found)}"
                for name, found, expected in sorted(loaded["mismatched_keys"])
            ],
            "not finite": sorted(name for name, tensor in state.items() if not tensor.isfinite().all()),
        }
        if any(faults.values()):
            raise CheckpointError(f"{folder / WEIGHTS}: does not fit {name}; {self.remedy(name)}" + _listed(faults))
        return network.float().eval().requires_grad_(False)

    def _read_config(self, name: str, path: Path) -> C:
        again = f"expected that of {name}; {self.remedy(name)}"
        try:
            content: Any = parse_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CheckpointError(f"{path}: not JSON ({error}); {again}") from error
        model = content.get("model_type") if isinstance(content, dict) else None
        if model != self.config.model_type:
            raise CheckpointError(f"{path}: is of a model {model!r}, not {self.config.model_type!r}; {again}")
        try:
            config = self.config.from_dict(content)
            identity = self.identity(config)
        except Exception as error:  # of many types: the library checks fields, and nested ones may be missing
            raise CheckpointError(f"{path}: not a sound configuration ({error}); {again}") from error
        of_shapes = {other: self.identity(self.build_config(shape)) for other, shape in self.shapes.items()}
        if identity != of_shapes[name]:
            fitting = [other for other, known in of_shapes.items() if known == identity]
            hint = f"it is that of {fitting[0]}: give --config {fitting[0]}" if fitting else again
            raise CheckpointError(f"{path}: is not the configuration of {name}; {hint}")
        return config


def _listed(faults: Mapping[str, list[str]]) -> str:
    """Tensors that do not fit, a group after the other, each cut after some names."""
    lines = ""
    for kind, names in faults.items():
        if names:
            more = [f"... and {len(names) - NAMES_SHOWN} more"] if len(names) > NAMES_SHOWN else []
            lines += f"\n  {kind} ({len(names)}):\n    " + "\n    ".join([*names[:NAMES_SHOWN], *more])
    return lines


def _sam2_config(shape: SAM2Shape) -> Sam2VideoConfig:
    size, width = shape.image_size, shape.hidden_size
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": shape.embed_dim[0],
        "num_attention_heads": shape.num_heads[0],
        "image_size": [size, size],
        "blocks_per_stage": list(shape.blocks),
        "embed_dim_per_stage": list(shape.embed_dim),
        "num_attention_heads_per_stage": list(shape.num_heads),
        "window_size_per_stage": list(shape.windows),
        "global_attention_blocks": list(shape.global_blocks),
        "window_positional_embedding_background_size": [shape.background, shape.background],
    }
    return Sam2VideoConfig(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": backbone,
            "backbone_channel_list": list(reversed(shape.embed_dim)),
            "backbone_feature_sizes": [[size // stride, size // stride] for stride in (4, 8, 16)],
            "fpn_hidden_size": width,
        },
        image_size=size,
        prompt_encoder_config={"hidden_size": width, "image_size": size},
        mask_decoder_config={"hidden_size": width, "mlp_dim": shape.feedforward_dim, "iou_head_hidden_dim": width},
        memory_attention_hidden_size=width,
        memory_attention_num_layers=shape.memory_layers,
        memory_attention_feed_forward_hidden_size=shape.feedforward_dim,
        memory_attention_rope_feat_sizes=[size // 16, size // 16],
        memory_encoder_hidden_size=width,
        mask_downsampler_embed_dim=width,
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=4 * width,
    )


def _sam2_identity(config: Any) -> object:
    backbone = config.vision_config.backbone_config
    return (list(backbone.blocks_per_stage), list(backbone.embed_dim_per_stage), config.image_size)


SAM2_CHECKPOINTS = Published(
    network=Sam2VideoModel,
    config=Sam2VideoConfig,
    shapes=SAM2,
    build_config=_sam2_config,
    identity=_sam2_identity,
    page=lambda name: f"https://huggingface.co/facebook/{name.replace('sam2.1-', 'sam2.1-hiera-')}",
)


def _grounding_dino_config(shape: GroundingDINOShape) -> GroundingDinoConfig:
    heads = 8 if shape.hidden_size >= 256 else 2
    return GroundingDinoConfig(
        backbone_config={
            "model_type": "swin",
            "embed_dim": shape.embed_dim,
            "depths": list(shape.depths),
            "num_heads": list(shape.num_heads),
            "window_size": shape.window,
            "out_indices": [2, 3, 4],
        },
        text_config={
            "model_type": "bert",
            "hidden_size": shape.text_size,
            "num_hidden_layers": shape.text_layers,
            "num_attention_heads": 12 if shape.text_size >= 768 else 2,
            "intermediate_size": 4 * shape.text_size,
            "vocab_size": shape.vocab_size,
        },
        d_model=shape.hidden_size,
        encoder_layers=shape.layers,
        decoder_layers=shape.layers,
        encoder_ffn_dim=shape.feedforward_dim,
        decoder_ffn_dim=shape.feedforward_dim,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        num_queries=shape.num_queries,
    )


def _grounding_dino_identity(config: Any) -> object:
    return (config.backbone_config.embed_dim, list(config.backbone_config.depths), config.d_model)


GROUNDING_DINO_CHECKPOINTS = Published(
    network=GroundingDinoForObjectDetection,
    config=GroundingDinoConfig,
    shapes=GROUNDING_DINO,
    build_config=_grounding_dino_config,
    identity=_grounding_dino_identity,
    page=lambda name: f"https://huggingface.co/IDEA-Research/{name}",
)

TOKENIZER = ("tokenizer.json", "vocab.txt")  # one of them is enough
BEGIN, END, PERIOD, FIRST_BYTE = 101, 102, 1012, 200  # token ids; the network knows the first three by number
Encode = Callable[[str], list[int]]  # a sentence to its token ids, those of begin and end among them


def load_tokenizer(folder: Path | None) -> Encode:
    """The tokenizer beside the weights of a detector; without a folder, a token for each byte, for random weights.

    Raises:
        CheckpointError: it is missing, damaged, or not that of Grounding DINO.
    """
    if folder is None:
        return lambda text: [BEGIN, *(PERIOD if c == ord(".") else FIRST_BYTE + c for c in text.encode()), END]
    if not any((folder / name).is_file() for name in TOKENIZER):
        raise CheckpointError(f"{folder}: expected {' or '.join(TOKENIZER)}, found neither; fetch the detector again")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises errors of many types
        raise CheckpointError(f"{folder}: its tokenizer cannot be read ({error}); fetch it again") from error
    if (found := tokenizer(".")["input_ids"]) != [BEGIN, PERIOD, END]:
        raise CheckpointError(
            f"{folder}: holds a tokenizer that is not that of Grounding DINO: expected the ids "
            f"{[BEGIN, PERIOD, END]} for a period, found {found}; fetch it again"
        )
    return lambda text: tokenizer(text)["input_ids"]
