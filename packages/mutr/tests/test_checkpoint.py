"""Published names: ReferFormer's and those of the two temporal modules."""

from pathlib import Path

import pytest
import torch
from golden_cases import find_cases
from golden_cases.grounded.loading import shared_sizes, torch_weights
from mutr.checkpoint import CHECKPOINTS, published_table
from mutr.config import CONFIGS, MUTRConfig
from mutr.model import MUTR
from program_kit.errors import CheckpointError
from program_kit.torch.checkpoint.table import convert

[CASE] = [case for case in find_cases("mutr", local=Path(__file__).parent / "goldens") if case.name == "tiny"]
CONFIG = MUTRConfig(**shared_sizes(CASE.manifest["config"]))


@pytest.fixture
def published() -> dict[str, torch.Tensor]:
    return torch_weights(CASE)


def test_every_name_goes_somewhere(published):
    model = MUTR(CONFIG)
    ours = convert(published, published_table(CONFIG), model, "tiny.pth")
    assert ours.keys() == model.state_dict().keys()
    assert ours["interaction.start.weight"] is published["mti.query_feat.weight"]
    assert ours["interaction.transformer.query_position.weight"] is published["mti.query_embed.weight"]
    assert ours["queries.query_embed.weight"] is published["query_embed.weight"]


def test_a_checkpoint_of_referformer_is_refused(published):
    state = {name: tensor for name, tensor in published.items() if not name.startswith(("MTA.", "mti."))}
    with pytest.raises(CheckpointError, match=r"missing \(107\)") as caught:
        convert(state, published_table(CONFIG), MUTR(CONFIG), "ytvos.pth")
    assert "aggregation.attention.attention.in_proj_weight" in str(caught.value)


def test_the_file_as_training_leaves_it(published, tmp_path):
    torch.save({"model": published, "epoch": 11}, tmp_path / "mutr.pth")
    model = CHECKPOINTS.with_config("golden", CONFIG).load(tmp_path / "mutr.pth", "golden")
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    torch.testing.assert_close(model.interaction.start.weight, published["mti.query_feat.weight"], rtol=0, atol=0)


def test_a_second_aggregation_layer_is_refused(published):
    published["MTA.layers.1.norm1.weight"] = torch.zeros(CONFIG.transformer.hidden_size)
    with pytest.raises(CheckpointError, match=r"unknown \(1\):\s+MTA\.layers\.1\.norm1\.weight"):
        convert(published, published_table(CONFIG), MUTR(CONFIG), "mutr.pth")


def test_size_of_the_published_network():
    with torch.device("meta"):
        model = MUTR(CONFIGS["video-swin-b"])
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 1) == 247.6
