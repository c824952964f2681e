"""From expressions to token ids, as the published code does; tests of the tokenizers are in rvos_layers."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rvos_layers.encoders.tokenizer import BERT
from rvos_layers.errors import TokenizerError
from uninext.config import TextConfig, named_config
from uninext.preprocess import clean_expression, load_tokenizer

CONFIG = TextConfig()


@pytest.fixture
def bert() -> str:
    folder = Path(os.environ.get("RVOS_DATA", "absent")) / "tokenizers" / "bert-base-uncased"
    if not folder.is_dir():
        pytest.skip("needs RVOS_DATA with tokenizers/bert-base-uncased")
    return str(folder)


def test_word_pieces_of_bert(bert: str) -> None:
    tokens = load_tokenizer(bert, CONFIG)(["A person, wearing a red shirt.", "snowboarder's dog"])
    # ids of bert-base-uncased: a 1037, person 2711, wearing 4147, red 2417, shirt 3797
    assert tokens.input_ids[0].tolist() == [BERT.begin, 1037, 2711, 4147, 1037, 2417, 3797, BERT.end]
    assert not tokens.padding_mask[0].any()
    words = (~tokens.padding_mask[1]).sum()
    assert tokens.input_ids[1, words - 1] == BERT.end
    assert (tokens.input_ids[1, words:] == BERT.pad).all()


def test_long_expressions_are_truncated_as_in_training(bert: str) -> None:
    tokens = load_tokenizer(bert, CONFIG)(["dog " * 300])
    assert tokens.input_ids.shape == (1, 256)
    assert tokens.input_ids[0, -1] == BERT.end


def test_the_tokenizer_of_the_demo_configurations() -> None:
    config = named_config("demo-vit").text
    tokens = load_tokenizer("auto", config)(["The red STAR!", "the red star"])
    assert tokens.input_ids[0].tolist() == tokens.input_ids[1].tolist()
    assert load_tokenizer("auto", config)(["word " * 100]).input_ids.shape == (1, config.max_tokens)


def test_ids_beyond_the_text_encoder() -> None:
    with pytest.raises(TokenizerError, match="knows 110 tokens"):
        load_tokenizer("bytes", TextConfig(vocab_size=110))(["dog"])


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_any_text_becomes_tokens(expressions: list[str]) -> None:
    tokens = load_tokenizer("auto", CONFIG, untrained=True)(expressions)
    assert tokens.input_ids.shape == tokens.padding_mask.shape
    assert not tokens.padding_mask[:, :2].any()
    assert not tokens.input_ids[tokens.padding_mask].any()
    assert tokens.input_ids.max() < 600


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean_expression(text)
    assert clean_expression(once) == once
    assert not set(once) & set(".,'!?\"()*#:;-/")
