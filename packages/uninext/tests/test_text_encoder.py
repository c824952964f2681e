"""The text encoder equals transformers' BERT, and takes its weights by name."""

from dataclasses import asdict

import pytest
import torch
from golden_cases import assert_close
from transformers import BertConfig, BertModel
from uninext.config import TextConfig
from uninext.text_encoder import TextEncoder

SMALL = TextConfig(
    vocab_size=40,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=20,
)


@pytest.fixture(scope="module")
def stock() -> BertModel:
    torch.manual_seed(0)
    model = BertModel(BertConfig(**asdict(SMALL)), add_pooling_layer=False)
    for parameter in model.parameters():  # biases and norms start neutral, where a mistake would not show
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def test_equals_transformers(stock: BertModel) -> None:
    ours = TextEncoder(SMALL).eval()
    ours.bert.load_state_dict(stock.state_dict(), strict=True)
    ids = torch.tensor([[1, 5, 6, 7, 39, 2], [1, 9, 2, 0, 0, 0]])
    padding = ids == 0
    with torch.no_grad():
        found = ours(ids, padding).words
        expected = stock(ids, attention_mask=(~padding).long()).last_hidden_state
        alone = ours(ids[1:, :3], padding[1:, :3]).words
    assert_close(found, expected, layers=12)
    assert_close(found[1, :3], alone[0], layers=12)


def test_random_weights_are_drawn_as_transformers_draws_them() -> None:
    ours, theirs = TextEncoder(SMALL).bert, BertModel(BertConfig(**asdict(SMALL)), add_pooling_layer=False)
    for name, parameter in theirs.named_parameters():
        own = ours.get_parameter(name)
        if name.endswith("bias") or "LayerNorm" in name:
            assert torch.equal(own, parameter), name
        else:
            assert 0.8 < own.std() / parameter.std() < 1.25, name
    assert not ours.get_parameter("embeddings.word_embeddings.weight")[0].any()
