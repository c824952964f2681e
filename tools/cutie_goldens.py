# /// script
# requires-python = ">=3.11,<3.13"
# dependencies = ["rf-cutie==1.0.1", "torch", "numpy", "golden-cases"]
#
# [tool.uv.sources]
# golden-cases = { path = "golden_cases" }
# ///
"""Golden cases of Cutie, made with the published code (the maintained wheel `rf-cutie`).

    uv run --script tools/cutie_goldens.py packages/cutie/tests

Writes the cases to `goldens/` and the names and shapes of published checkpoints to `published_names/`. The wheel's
module is called `cutie`, as ours is: this script runs in an environment of its own. Nothing is downloaded but packages:
weights are drawn from the names of the tensors.
"""

import json
import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from cutie.inference.inference_core import InferenceCore
from cutie.model.cutie import CUTIE
from cutie.model.utils import resnet
from golden_cases import published_weights
from omegaconf import OmegaConf

DEPTHS = {"resnet18": [2, 2, 2, 1], "resnet50": [3, 4, 6, 1]}
BLOCKS = {"resnet18": resnet.BasicBlock, "resnet50": resnet.Bottleneck}
TINY_DEPTHS = [1, 1, 1, 1]
TINY = {
    "pixel_dim": 32,
    "key_dim": 16,
    "value_dim": 32,
    "sensory_dim": 32,
    "embed_dim": 32,
    "object_transformer": {"ff_dim": 48, "num_heads": 2, "num_blocks": 2, "num_queries": 4},
    "mask_decoder": {"up_dims": [32, 16, 16]},
}
# A random network sees background everywhere: these make its logits spread around 0 and its memories matter.
OVERRIDES = {
    r"^key_proj\.key_proj\.weight": "scale:3",
    r"^mask_decoder\.pred\.bias": {"set": [6.0]},
    r"^pixel_fuser\.fuser\.distributor\.g_transform\.weight": "scale:3",
}


def base_config(**changes):
    """The published configuration for evaluation, with its base model."""
    folder = files("cutie.config")
    config = OmegaConf.create((folder / "eval_config.yaml").read_text())
    model = OmegaConf.create((folder / "model" / "base.yaml").read_text())
    plain = {key: config[key] for key in config if key not in ("defaults", "hydra", "datasets")}
    return OmegaConf.merge({**plain, "model": model, "use_long_term": False, "mem_every": 5}, changes)


def build(config, tiny):
    """A network without the ImageNet weights that its constructor would download."""
    for name in DEPTHS:

        def without_weights(pretrained=True, extra_dim=0, model_dir=None, name=name):
            return resnet.ResNet(BLOCKS[name], TINY_DEPTHS if tiny else DEPTHS[name], extra_dim)

        setattr(resnet, name, without_weights)
    return CUTIE(config).eval()


def rows(network):
    """`[name, shape, dtype, alias]` of all that is drawn; frequencies follow from the width."""
    return [
        [name, list(tensor.shape), str(tensor.dtype).removeprefix("torch."), None]
        for name, tensor in network.state_dict().items()
        if not name.endswith(("inv_freq", "num_batches_tracked"))
    ]


def tiny_network(config):
    network = build(config, tiny=True)
    weights = published_weights(rows(network), OVERRIDES, {})
    state = {name: torch.from_numpy(array) for name, array in weights.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith(("inv_freq", "num_batches_tracked")) for name in missing)
    return network


def drawn_video(frames, size):
    """Two bright patches that move over a gradient, frames uint8 [T, H, W, 3]; the ids of the first frame [H, W]."""
    height, width = size
    down, right = np.mgrid[:height, :width]
    pixels = np.zeros((frames, height, width, 3), np.uint8)
    for t in range(frames):
        pixels[t] = np.stack([2 * down % 256, right % 256, (down + right + 3 * t) % 256], axis=-1) // 2
        top, left = height // 6 + t % 7, (3 * t) % (width // 2)
        pixels[t, top : top + height // 3, left : left + width // 4] = (220, 60, 40)
        pixels[t, height // 2 + t % 5 : height - 4, width // 2 : width - 6 - t % 9] = (40, 80, 230)
    labels = np.zeros(size, np.uint8)
    labels[height // 6 : height // 6 + height // 3, : width // 4] = 1
    labels[height // 2 : height - 4, width // 2 : width - 6] = 2
    labels[height // 2 : height - 4, : width // 5] = 3
    return pixels, labels


def tensor_of(frame):
    return torch.from_numpy(frame).permute(2, 0, 1).float() / 255


@torch.no_grad()
def network_case():
    """Every stage once, for three objects that compete."""
    config = base_config(model=TINY)
    network = tiny_network(config)
    frames, labels = drawn_video(2, (64, 96))
    images = [tensor_of(frame)[None] for frame in frames]
    arrays = {"in.frames": frames, "in.labels": labels}
    features = []
    for t, image in enumerate(images):
        maps, pixels = network.encode_image(image)
        key, shrinkage, selection = network.transform_key(maps[0])
        features.append((maps, pixels))
        if t == 1:
            stages = {"s16": maps[0][:, ::16], "s8": maps[1][:, ::32, ::2, ::2], "s4": maps[2][:, ::32, ::4, ::4]}
            stages |= {"pixels": pixels, "key": key, "shrinkage": shrinkage, "selection": selection}
            arrays |= {f"mid.{stage}": tensor[0].numpy() for stage, tensor in stages.items()}
    masks = torch.stack([torch.from_numpy(labels == i).float() for i in (1, 2, 3)])[None]
    sensory = torch.zeros(1, 3, 32, 4, 6)
    values, sensory, summary, _ = network.encode_mask(images[0], features[0][1], sensory, masks)
    arrays |= {
        "mid.values": values[0].numpy(),
        "mid.deep_sensory": sensory[0].numpy(),
        "mid.summary": summary[0].numpy(),
    }
    # The memory is left out here: the values of the first frame stand for what is read from it.
    fused = network.pixel_fusion(features[1][1], values, sensory, masks)
    pixels, _ = network.readout_query(fused, summary[:, :, None])
    sensory, logits, probabilities = network.segment(features[1][0], pixels, sensory)
    stages = {"fused": fused, "objects": pixels, "sensory": sensory, "competing": logits}
    arrays |= {f"mid.{stage}": tensor[0].numpy() for stage, tensor in stages.items()}
    arrays["mid.competing"] = arrays["mid.competing"][:, ::4, ::4]
    arrays["out.probabilities"] = probabilities[0].numpy()
    return manifest("network", config, network), arrays


@torch.no_grad()
def propagation_case(frames, size, sampled, **changes):
    """A clip through the published inference, from the objects of its first frame."""
    config = base_config(model=TINY, **changes)
    network = tiny_network(config)
    pixels, labels = drawn_video(frames, size)
    core = InferenceCore(network, cfg=config)
    arrays = {"in.frames": pixels, "in.labels": labels}
    found, tokens = [], []
    for t, frame in enumerate(pixels):
        given = (torch.from_numpy(labels).long(), [1, 2, 3]) if t == 0 else (None, None)
        probabilities = core.step(tensor_of(frame), *given, end=t == frames - 1)
        found.append(probabilities.argmax(dim=0).to(torch.uint8).numpy())
        long = core.memory.long_mem if config.use_long_term else None
        condensed = long.size(0) if long and long.engaged(0) else 0
        tokens.append([condensed, core.memory.work_mem.non_perm_size(0)])
        if t in sampled:
            arrays[f"out.probabilities_f{t}"] = probabilities[:, ::2, ::2].numpy()
    arrays |= {"out.numbers": np.stack(found), "out.tokens": np.array(tokens)}
    return manifest("propagation", config, network), arrays


def manifest(kind, config, network):
    return {
        "kind": kind,
        "source": f"rf-cutie {version('rf-cutie')}, torch {torch.__version__}",
        "config": OmegaConf.to_container(config, resolve=True),
        "encoder_depths": TINY_DEPTHS[:3],
        "overrides": OVERRIDES,
        "state_dict": rows(network),
    }


def write(folder, name, case):
    settings, arrays = case
    (folder / f"{name}.manifest.json").write_text(json.dumps(settings, indent=1) + "\n")
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    sizes = {key: int(n) for key, n in zip(*np.unique(arrays.get("out.numbers", 0), return_counts=True), strict=True)}
    print(name, (folder / f"{name}.npz").stat().st_size, "bytes; pixels of each number:", sizes)


def main():
    root = Path(sys.argv[1])
    torch.set_num_threads(1)
    goldens, names = root / "goldens", root / "published_names"
    for folder in (goldens, names):
        folder.mkdir(exist_ok=True)
    write(goldens, "network", network_case())
    write(goldens, "working_memory", propagation_case(28, (96, 112), (1, 14, 27), mem_every=2))
    long_term = {"max_mem_frames": 4, "min_mem_frames": 2, "num_prototypes": 8}
    long_term |= {"max_num_tokens": 40, "buffer_tokens": 10}
    case = propagation_case(26, (90, 120), (1, 12, 25), mem_every=1, use_long_term=True, long_term=long_term)
    write(goldens, "long_term_memory", case)
    for name, encoder in {"base": {}, "small": {"type": "resnet18", "ms_dims": [256, 128, 64]}}.items():
        network = build(base_config(model={"pixel_encoder": encoder}), tiny=False)
        shapes = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
        (names / f"cutie-{name}-mega.json").write_text(json.dumps(shapes, indent=0) + "\n")


if __name__ == "__main__":
    main()
