"""RoBERTa equals transformers' to the last bit, padding included, and takes its weights by name."""

import pytest
import torch
from rvos_layers.encoders.config import BEGIN, END, PAD, TextConfig
from rvos_layers.encoders.roberta import Roberta
from transformers import RobertaConfig, RobertaModel

SMALL = TextConfig(vocab_size=40, hidden_size=16, layers=2, num_heads=4, feedforward_dim=24, positions=20)


@pytest.fixture(scope="module")
def stock() -> RobertaModel:
    torch.manual_seed(0)
    model = RobertaModel(
        RobertaConfig(
            vocab_size=SMALL.vocab_size,
            hidden_size=SMALL.hidden_size,
            num_hidden_layers=SMALL.layers,
            num_attention_heads=SMALL.num_heads,
            intermediate_size=SMALL.feedforward_dim,
            max_position_embeddings=SMALL.positions,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            pad_token_id=PAD,
            bos_token_id=BEGIN,
            eos_token_id=END,
        )
    )
    model.set_attn_implementation("eager")
    for parameter in model.parameters():  # biases and norms start neutral, where a mistake would not show
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def test_equals_transformers(stock):
    ours = Roberta(SMALL).eval()
    ours.load_state_dict(stock.state_dict(), strict=True)
    ids = torch.tensor([[0, 5, 6, 7, 39, 2], [0, 9, 2, PAD, PAD, PAD]])
    padding = ids == PAD
    with torch.no_grad():
        found, expected = ours(ids, padding), stock(ids, attention_mask=(~padding).long())
    assert torch.equal(found.last_hidden_state, expected.last_hidden_state)
    assert torch.equal(found.pooler_output, expected.pooler_output)


def test_drops_out_as_much_as_transformers_in_training(stock):
    ours = Roberta(SMALL).train()
    ours.load_state_dict(stock.state_dict(), strict=True)
    ids = torch.tensor([[0, 5, 6, 7, 39, 2]])
    torch.manual_seed(1)
    found = ours(ids, ids == PAD).last_hidden_state
    torch.manual_seed(1)
    expected = stock.train()(ids).last_hidden_state
    stock.eval()
    torch.testing.assert_close(found, expected)
