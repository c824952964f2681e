"""Published checkpoints into this package's networks: names, strictness, safe loading.

`TABLE` reads from published names to ours. A published name that no row explains, a name of ours that nothing fills
and a shape that does not fit are errors that list the names; what is dropped on purpose says why.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aot_deaot.config import CONFIGS, MOBILENET_V2, RESNET50, Family, NetworkConfig, SwinShape
from aot_deaot.errors import CheckpointError
from aot_deaot.network import PropagationNetwork

WRAPPERS = ("state_dict", "model")
FORMAT = "aot-deaot 1"


@dataclass(frozen=True, slots=True)
class Row:
    """One rule of the table.

    Attributes:
        published: pattern of a whole published name.
        ours: replacement for `re.Match.expand`; None drops the entry.
        why: reason of a drop.
        reshape: published and own shape differ by axes only (same numbers in the same order).
    """

    published: str
    ours: str | None
    why: str = ""
    reshape: bool = False


SHARED = [
    Row(r"encoder_projector\.(.*)", r"projector.\1"),
    Row(r"patch_wise_id_bank\.(.*)", r"identity_bank.\1"),
    Row(r"decoder\.conv_in\.conv\.(.*)", r"decoder.join.\1"),
    Row(r"decoder\.conv_in\.gn\.(.*)", r"decoder.join_norm.\1"),
    Row(r"decoder\.conv_(\d+)x\.conv\.(.*)", r"decoder.blends.s\1.\2"),
    Row(r"decoder\.conv_(\d+)x\.gn\.(.*)", r"decoder.norms.s\1.\2"),
    Row(r"decoder\.adapter_(\d+)x\.(.*)", r"decoder.skips.s\1.\2"),
    Row(r"decoder\.conv_out\.(.*)", r"decoder.logits.\1"),
    Row(r"LSTT\.layers\.(\d+)\.norm([123])\.(.*)", r"layers.\1.norm\2.\3"),
    Row(r"LSTT\.layers\.(\d+)\.short_term_attn\.relative_emb_k\.(.*)", r"layers.\1.relative.\2", reshape=True),
]

AOT = [
    Row(r"LSTT\.mask_token", None, why="training aid of later code, not used by the forward pass"),
    Row(r"LSTT\.layers\.(\d+)\.self_attn\.linear_Q\.(.*)", r"layers.\1.self_attention.query.\2"),
    Row(r"LSTT\.layers\.(\d+)\.self_attn\.linear_K\.(.*)", r"layers.\1.self_attention.key.\2"),
    Row(r"LSTT\.layers\.(\d+)\.self_attn\.linear_V\.(.*)", r"layers.\1.self_attention.value.\2"),
    Row(r"LSTT\.layers\.(\d+)\.self_attn\.projection\.(.*)", r"layers.\1.self_attention.projection.\2"),
    Row(r"LSTT\.layers\.(\d+)\.linear_Q\.(.*)", r"layers.\1.query.\2"),
    Row(r"LSTT\.layers\.(\d+)\.linear_V\.(.*)", r"layers.\1.value.\2"),
    Row(r"LSTT\.layers\.(\d+)\.(long|short)_term_attn\.projection\.(.*)", r"layers.\1.\2_projection.\3"),
    Row(r"LSTT\.layers\.(\d+)\.short_term_attn\.relative_emb_v", r"layers.\1.relative.value"),
    Row(r"LSTT\.layers\.(\d+)\.linear1\.(.*)", r"layers.\1.feed_forward.widen.\2"),
    Row(r"LSTT\.layers\.(\d+)\.activation\.gn\.(.*)", r"layers.\1.feed_forward.norm.\2"),
    Row(r"LSTT\.layers\.(\d+)\.activation\.conv\.(.*)", r"layers.\1.feed_forward.blend.\2"),
    Row(r"LSTT\.layers\.(\d+)\.linear2\.(.*)", r"layers.\1.feed_forward.narrow.\2"),
    Row(r"LSTT\.decoder_norms\.(\d+)\.(.*)", r"readout.norms.\1.\2"),
]

DEAOT = [
    Row(r"id_norm\.(.*)", r"identity_norm.\1"),
    Row(r"LSTT\.layers\.(\d+)\.id_norm([12])\.(.*)", r"layers.\1.identity_norm\2.\3"),
    Row(r"LSTT\.layers\.(\d+)\.linear_QV\.(.*)", r"layers.\1.query_value.\2"),
    Row(r"LSTT\.layers\.(\d+)\.linear_U\.(.*)", r"layers.\1.gate.\2"),
    Row(r"LSTT\.layers\.(\d+)\.linear_ID_V\.(.*)", r"layers.\1.identity_value.\2"),
    Row(r"LSTT\.layers\.(\d+)\.linear_ID_U\.(.*)", r"layers.\1.identity_gate.\2"),
    Row(r"LSTT\.layers\.(\d+)\.(long|short)_term_attn\.dw_conv\.conv\.(.*)", r"layers.\1.\2_output.blend.\3"),
    Row(r"LSTT\.layers\.(\d+)\.(long|short)_term_attn\.projection\.(.*)", r"layers.\1.\2_output.projection.\3"),
    Row(r"LSTT\.layers\.(\d+)\.self_attn\.linear_QK\.(.*)", r"layers.\1.self_propagation.query.\2"),
    Row(r"LSTT\.layers\.(\d+)\.self_attn\.linear_V1\.(.*)", r"layers.\1.self_propagation.values.0.\2"),
    Row(r"LSTT\.layers\.(\d+)\.self_attn\.linear_V2\.(.*)", r"layers.\1.self_propagation.values.1.\2"),
    Row(r"LSTT\.layers\.(\d+)\.self_attn\.linear_U1\.(.*)", r"layers.\1.self_propagation.gates.0.\2"),
    Row(r"LSTT\.layers\.(\d+)\.self_attn\.linear_U2\.(.*)", r"layers.\1.self_propagation.gates.1.\2"),
    Row(r"LSTT\.layers\.(\d+)\.self_attn\.dw_conv\.conv\.(.*)", r"layers.\1.self_propagation.output.blend.\2"),
    Row(r"LSTT\.layers\.(\d+)\.self_attn\.projection\.(.*)", r"layers.\1.self_propagation.output.projection.\2"),
    Row(r"LSTT\.decoder_norms\.0\.gn\.(.*)", r"readout.norm.\1"),
]

SWIN = [
    Row(r"encoder\..*\.relative_position_index", None, why="follows from the window size"),
    Row(r"encoder\.patch_embed\.proj\.(.*)", r"encoder.features.0.0.\1"),
    Row(r"encoder\.patch_embed\.norm\.(.*)", r"encoder.features.0.2.\1"),
    Row(r"encoder\.norm(\d)\.(.*)", r"encoder.norms.\1.\2"),
]
for _stage in range(3):
    _ours = f"encoder.features.{2 * _stage + 1}"
    SWIN += [
        Row(rf"encoder\.layers\.{_stage}\.blocks\.(\d+)\.mlp\.fc1\.(.*)", rf"{_ours}.\1.mlp.0.\2"),
        Row(rf"encoder\.layers\.{_stage}\.blocks\.(\d+)\.mlp\.fc2\.(.*)", rf"{_ours}.\1.mlp.3.\2"),
        Row(rf"encoder\.layers\.{_stage}\.blocks\.(\d+)\.(norm1|norm2|attn)\.(.*)", rf"{_ours}.\1.\2.\3"),
        Row(rf"encoder\.layers\.{_stage}\.downsample\.(.*)", rf"encoder.features.{2 * _stage + 2}.\1"),
    ]

MOBILENET = [
    Row(r"encoder\..*\.num_batches_tracked", None, why="batch norm is frozen"),
    Row(r"encoder\.features\.(.*)", r"encoder.features.\1"),
]

RESNET = [
    Row(r"encoder\..*\.num_batches_tracked", None, why="batch norm is frozen"),
    Row(r"encoder\.conv1\.(.*)", r"encoder.stem.0.\1"),
    Row(r"encoder\.bn1\.(.*)", r"encoder.stem.1.\1"),
    Row(r"encoder\.layer1\.(.*)", r"encoder.stages.0.\1"),
    Row(r"encoder\.layer2\.(.*)", r"encoder.stages.1.\1"),
    Row(r"encoder\.layer3\.(.*)", r"encoder.stages.2.\1"),
]

TABLE: Mapping[str, list[Row]] = {
    "aot": SHARED + AOT,
    "deaot": SHARED + DEAOT,
    "swin": SWIN,
    MOBILENET_V2: MOBILENET,
    RESNET50: RESNET,
}


def rows_for(config: NetworkConfig) -> list[Row]:
    """The rules that apply to a network, most specific names first."""
    encoder = "swin" if isinstance(config.encoder, SwinShape) else config.encoder
    return [*TABLE[encoder], *TABLE[config.family]]


def family_of(names: Iterable[str]) -> Family | None:
    """Which family published names belong to; None when they name neither."""
    kinds = {
        name.split(".")[3]
        for name in names
        if name.startswith("LSTT.layers.0.") and name.count(".") >= 4  # LSTT.layers.0.<part>.<weight or bias>
    }
    if "linear_QV" in kinds:
        return "deaot"
    return "aot" if "linear_Q" in kinds else None


def convert_state(published: Mapping[str, Tensor], config: NetworkConfig) -> dict[str, Tensor]:
    """Published names and shapes to ours; a pure function.

    Args:
        published: a state dict as published, `module.` prefixes allowed.
        config: the network it is meant for.

    Raises:
        CheckpointError: the other family's checkpoint, names that no row explains, names that are missing, or shapes
            that do not fit; the message lists them and names the config that would fit.
    """
    published = {name.removeprefix("module."): tensor for name, tensor in published.items()}
    family = family_of(published)
    if family is not None and family != config.family:
        raise CheckpointError(
            f"this is a checkpoint of the {family} family, the network is {config.family}: use {family}-propagate"
        )
    wanted = _expected(config)
    rows = rows_for(config)
    ours: dict[str, Tensor] = {}
    unknown, misfits = [], []
    for name, tensor in published.items():
        target, row = rename(name, rows)
        if row is None or (target is not None and target not in wanted):
            unknown.append(name)
        elif target is not None:
            shape = wanted[target]
            fits = tensor.numel() == shape.numel() if row.reshape else tensor.shape == shape
            if fits:
                ours[target] = tensor.reshape(shape)
            else:
                misfits.append(f"{name} is {list(tensor.shape)}, expected {list(shape)}")
    missing = sorted(wanted.keys() - ours.keys() - {rename(line.split(" ")[0], rows)[0] for line in misfits})
    if unknown or missing or misfits:
        raise CheckpointError(_complaint(published, config, unknown, missing, misfits))
    return ours


def rename(name: str, rows: Iterable[Row]) -> tuple[str | None, Row | None]:
    """Our name and the row that gave it; (None, row) for what is dropped, (None, None) for what no row explains."""
    for row in rows:
        if match := re.fullmatch(row.published, name):
            return (None if row.ours is None else match.expand(row.ours)), row
    return None, None


def _expected(config: NetworkConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in PropagationNetwork(config).state_dict().items()}


def _complaint(
    published: Mapping[str, Tensor],
    config: NetworkConfig,
    unknown: list[str],
    missing: list[str],
    misfits: list[str],
) -> str:
    lines = ["the checkpoint does not fit the network:"]
    for title, names in (("unknown names", unknown), ("missing (our names)", missing), ("wrong shapes", misfits)):
        if names:
            shown = names[:10] + ([f"... and {len(names) - 10} more"] if len(names) > 10 else [])
            lines += [f"  {len(names)} {title}:", *(f"    {name}" for name in shown)]
    fitting = [name for name, other in CONFIGS[config.family].items() if other != config and _fits(published, other)]
    if fitting:
        lines.append(f"  its names and shapes fit --config {' or '.join(fitting)}")
    return "\n".join(lines)


def _fits(published: Mapping[str, Tensor], config: NetworkConfig) -> bool:
    wanted, rows = _expected(config), rows_for(config)
    shapes = {rename(name, rows)[0]: tensor.numel() for name, tensor in published.items()}
    shapes.pop(None, None)
    return shapes == {name: shape.numel() for name, shape in wanted.items()}


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors of a checkpoint file and, for safetensors, its metadata; nothing in the file is ever executed.

    Raises:
        CheckpointError: no file, not a checkpoint, or one that holds more than tensors and plain values.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: not a safetensors file ({error})") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a file that is not what it should be
        raise CheckpointError(
            f"{path}: not read, because it is not a checkpoint of plain tensors ({type(error).__name__}: {error}). "
            "Files that would run code when opened are refused; export the state dict again with torch.save"
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: expected a state dict (also under {' or '.join(WRAPPERS)}), found neither")
    strange = [str(name) for name, value in content.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(f"{path}: these entries are no tensors: {', '.join(strange[:10])}")
    return {str(name): tensor for name, tensor in content.items()}, {}


def load_state(path: Path, config: NetworkConfig) -> dict[str, Tensor]:
    """The state dict of a published or converted checkpoint, in our names and float32; errors as `convert_state`."""
    tensors, metadata = read_tensors(path)
    try:
        if metadata.get("format") == FORMAT:
            if metadata.get("family") != config.family:
                raise CheckpointError(
                    f"this is a checkpoint of the {metadata.get('family')} family, the network is {config.family}"
                )
            _check_own(tensors, config)
        else:
            tensors = convert_state(tensors, config)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    return {name: tensor.float() for name, tensor in tensors.items()}


def _check_own(tensors: Mapping[str, Tensor], config: NetworkConfig) -> None:
    wanted = _expected(config)
    if {name: tensor.shape for name, tensor in tensors.items()} != wanted:
        odd = sorted(
            name
            for name in wanted.keys() | tensors.keys()
            if name not in tensors or tensors[name].shape != wanted.get(name)
        )
        raise CheckpointError(f"the converted checkpoint is of another config; these do not fit: {', '.join(odd[:10])}")


def load_network(path: Path, config: NetworkConfig) -> PropagationNetwork:
    """A network in evaluation mode with the weights of a checkpoint; errors as `load_state`."""
    network = PropagationNetwork(config)
    network.load_state_dict(load_state(path, config))
    return network.eval().requires_grad_(False)


def random_network(seed: int, config: NetworkConfig) -> PropagationNetwork:
    """A network in evaluation mode with reproducible random weights; the caller's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PropagationNetwork(config).eval().requires_grad_(False)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def convert(source: Path, target: Path, config: NetworkConfig, config_name: str) -> None:
    """Write a published checkpoint as safetensors in our names, with its origin in the metadata."""
    if target.suffix != ".safetensors":
        raise CheckpointError(f"{target}: the converted file is named *.safetensors")
    origin = {"source": json.dumps({"file": source.name, "sha256": sha256(source)})}
    _write(target, load_state(source, config), config, config_name, origin)


def save_network(target: Path, network: PropagationNetwork, config_name: str) -> None:
    """Write a network that was trained here, as `convert` writes published ones."""
    _write(target, network.state_dict(), network.config, config_name, {})


def _write(
    target: Path, state: Mapping[str, Tensor], config: NetworkConfig, config_name: str, origin: dict[str, str]
) -> None:
    partial = target.with_name(target.name + ".partial")
    metadata = {"format": FORMAT, "family": config.family, "config": config_name, **origin}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, partial, metadata)
    partial.replace(target)
