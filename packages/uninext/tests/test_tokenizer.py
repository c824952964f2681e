"""Sentences to token ids."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uninext.config import TextConfig
from uninext.errors import TokenizerError
from uninext.preprocess import clean_expression
from uninext.tokenizer import BEGIN, END, PAD, Tokenizer, encode_bytes, named_encoder, wordpiece_encoder

CONFIG = TextConfig()


@pytest.fixture
def bert() -> str:
    folder = Path(os.environ.get("RVOS_DATA", "absent")) / "tokenizers" / "bert-base-uncased"
    if not folder.is_dir():
        pytest.skip("needs RVOS_DATA with tokenizers/bert-base-uncased")
    return str(folder)


def test_word_pieces_of_bert(bert: str) -> None:
    tokens = Tokenizer(wordpiece_encoder(bert), CONFIG)(["A person, wearing a red shirt.", "snowboarder's dog"])
    # ids of bert-base-uncased: a 1037, person 2711, wearing 4147, red 2417, shirt 3797
    assert tokens.input_ids[0].tolist() == [BEGIN, 1037, 2711, 4147, 1037, 2417, 3797, END]
    assert not tokens.padding_mask[0].any()
    words = (~tokens.padding_mask[1]).sum()
    assert tokens.input_ids[1, words - 1] == END
    assert (tokens.input_ids[1, words:] == PAD).all()


def test_long_expressions_are_cut_where_training_cut_them(bert: str) -> None:
    tokens = Tokenizer(wordpiece_encoder(bert), CONFIG)(["dog " * 300])
    assert tokens.input_ids.shape == (1, 256)
    assert tokens.input_ids[0, -1] == END


def test_a_vocabulary_that_is_not_berts(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"has no vocab\.txt"):
        wordpiece_encoder(str(tmp_path))
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    with pytest.raises(TokenizerError, match="not BERT's"):
        wordpiece_encoder(str(tmp_path))


def test_an_unknown_hub_name_says_what_to_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TokenizerError, match="--tokenizer FOLDER"):
        wordpiece_encoder("nobody/no-such-tokenizer")


def test_ids_beyond_the_text_encoder() -> None:
    small = TextConfig(vocab_size=110)
    with pytest.raises(TokenizerError, match="knows 110 tokens"):
        Tokenizer(encode_bytes, small)(["dog"])


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_any_text_becomes_tokens(expressions: list[str]) -> None:
    tokens = Tokenizer(encode_bytes, CONFIG)(expressions)
    assert tokens.input_ids.shape == tokens.padding_mask.shape
    assert not tokens.padding_mask[:, :2].any()
    assert not tokens.input_ids[tokens.padding_mask].any()
    assert tokens.input_ids.max() < 600


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = clean_expression(text)
    assert clean_expression(once) == once
    assert not set(once) & set(".,'!?\"()*#:;-/")


def test_random_weights_need_no_vocabulary() -> None:
    assert named_encoder("auto", random_weights=True) is encode_bytes
    assert named_encoder("bytes") is encode_bytes
