"""Expressions to tokens: the published vocabularies, one token a byte, and messages about missing files."""

import hashlib
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from program_kit.origin import Origin
from program_kit.weights_folder import StoredFile, WeightsRecord, folder_of
from rvos_layers.encoders.config import BEGIN, END, PAD, TextConfig
from rvos_layers.encoders.text import TextEncoder
from rvos_layers.encoders.tokenizer import (
    BERT,
    BUNDLED_TOKENIZERS,
    ROBERTA,
    Tokenizer,
    encode_bytes,
    named_encoder,
    pretrained_encoder,
    tokenizer_name,
)
from rvos_layers.errors import TokenizerError
from transformers import BertTokenizer, RobertaTokenizer

DATA = os.environ.get("RVOS_DATA")


def test_bytes():
    tokens = Tokenizer(encode_bytes, vocab_size=260, max_tokens=20)(["ab", "é"])
    assert tokens.input_ids.tolist() == [[BEGIN, 4 + 97, 4 + 98, END], [BEGIN, 4 + 0xC3, 4 + 0xA9, END]]
    padded = Tokenizer(encode_bytes, vocab_size=260, max_tokens=20)(["ab", "a"])
    assert padded.input_ids[1].tolist() == [BEGIN, 4 + 97, END, PAD]
    assert padded.padding_mask[1].tolist() == [False, False, False, True]


def test_what_does_not_fit_is_named():
    with pytest.raises(TokenizerError, match=r"'abcdefgh' has 10 tokens, .* at most 9"):
        Tokenizer(encode_bytes, vocab_size=260, max_tokens=9)(["ab", "abcdefgh"])
    with pytest.raises(TokenizerError, match="knows 100 tokens"):
        Tokenizer(encode_bytes, vocab_size=100, max_tokens=9)(["z"])


@pytest.mark.skipif(not DATA, reason="RVOS_DATA does not name the folder of test data")
def test_the_vocabulary_of_roberta():
    encode = pretrained_encoder(str(Path(DATA or "") / "tokenizers" / "roberta-base"))
    assert encode("the brown dog running") == [0, 627, 6219, 2335, 878, 2]
    assert encode("The brown dog") != encode("the brown dog")
    assert encode("a  dog") != encode("a dog")
    assert encode("") == [BEGIN, END]


@pytest.mark.skipif(not DATA, reason="RVOS_DATA does not name the folder of test data")
def test_the_vocabulary_of_bert():
    encode = pretrained_encoder(str(Path(DATA or "") / "tokenizers" / "bert-base-uncased"), BERT)
    assert encode("a person wearing a red shirt") == [101, 1037, 2711, 4147, 1037, 2417, 3797, 102]
    assert encode("The Dog") == encode("the dog")
    assert encode("") == [BERT.begin, BERT.end]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Of both kinds of files, with what the library makes of them: made by this test, and published ones."""
    special, letters = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], [chr(code) for code in range(33, 127)]
    words = [*special, *letters, *(f"##{letter}" for letter in letters), "dog", "##s"]
    bert = tmp_path_factory.mktemp("bert")
    (bert / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    found = [(RobertaTokenizer, ROBERTA, BUNDLED_TOKENIZERS["demo"]), (BertTokenizer, BERT, bert)]
    if DATA:
        published = Path(DATA) / "tokenizers"
        found += [
            (RobertaTokenizer, ROBERTA, published / "roberta-base"),
            (BertTokenizer, BERT, published / "bert-base-uncased"),
        ]
    return [(kind.from_pretrained(str(folder)), vocabulary.read(folder)) for kind, vocabulary, folder in found]


WORDS = st.sampled_from(["dog", "Dogs", "  ", "<mask>", " <s>", "</s>", "[SEP] ", "é", "e\u0301", "犬", "it's"])


@given(pieces=st.lists(st.one_of(WORDS, st.text(max_size=8))))
def test_tokens_are_those_of_transformers(folders, pieces):
    expression = "".join(pieces)
    for theirs, ours in folders:
        assert ours.encode(expression).ids == theirs(expression)["input_ids"]


def test_what_a_name_means():
    assert tokenizer_name("auto", usual="roberta-base") == "roberta-base"
    assert tokenizer_name("auto", usual="roberta-base", untrained=True) == "bytes"
    assert tokenizer_name("demo", usual="roberta-base", untrained=True) == "demo"
    assert named_encoder("bytes", BERT)("a") == [101, 103 + 97, 102]
    assert named_encoder("demo", BERT)("the red star") == named_encoder("demo")("the red star")


def test_weights_that_tell_their_tokenizer_are_believed(capsys):
    origin = Origin(model="soc", config="tiny", tokenizer="bytes")
    assert tokenizer_name("auto", usual="roberta-base", origin=origin) == "bytes"
    assert not capsys.readouterr().err
    assert tokenizer_name("roberta-base", usual="roberta-base", origin=origin) == "roberta-base"
    assert "the weights were trained with tokenizer 'bytes', not with 'roberta-base'" in capsys.readouterr().err


def test_too_long_expressions_keep_their_end_where_they_are_truncated():
    tokenizer = Tokenizer(encode_bytes, vocab_size=260, max_tokens=4, truncate=True)
    assert tokenizer(["abcdef"]).input_ids.tolist() == [[BEGIN, 4 + 97, 4 + 98, END]]


@pytest.mark.parametrize("vocabulary", ["[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n", "a\nb\n"])
def test_a_vocabulary_that_is_not_berts_is_refused(tmp_path, vocabulary):
    with pytest.raises(
        TokenizerError, match=r"has no vocab\.txt\. Run .*, or pass --tokenizer FOLDER with vocab\.txt of bert-base"
    ):
        pretrained_encoder(str(tmp_path), BERT)
    (tmp_path / "vocab.txt").write_text(vocabulary)
    with pytest.raises(TokenizerError, match=r"is not that of bert-base-uncased|cannot be read"):
        pretrained_encoder(str(tmp_path), BERT)


def test_a_folder_without_the_files_is_refused(tmp_path):
    (tmp_path / "vocab.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"has no merges\.txt\. Run .* pass --tokenizer FOLDER with vocab\.json"):
        pretrained_encoder(str(tmp_path))


def test_another_vocabulary_is_refused(tmp_path):
    (tmp_path / "vocab.json").write_text('{"<s>": 5, "</s>": 6, "<pad>": 1, "<unk>": 3, "a": 0}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(TokenizerError, match="is not that of roberta-base: expected the ids"):
        pretrained_encoder(str(tmp_path))


def test_a_fetched_tokenizer_comes_before_the_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path))
    folder = folder_of("roberta-base")
    folder.mkdir()
    content = b"not the one of RoBERTa"
    (folder / "vocab.json").write_bytes(content)
    known = StoredFile(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    WeightsRecord(source="hub", files={"vocab.json": known}).write(folder)
    with pytest.raises(TokenizerError, match=rf"{folder} has no merges\.txt"):
        pretrained_encoder("roberta-base")


def test_offline_the_message_says_what_to_pass(monkeypatch):
    def nowhere(*_, **__):
        raise OSError("no connection")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", nowhere)
    with pytest.raises(TokenizerError, match=r"'roberta-base' is no folder.*cannot be downloaded.*pass --tokenizer"):
        pretrained_encoder("roberta-base")


def test_padding_does_not_reach_other_words():
    torch.manual_seed(0)
    config = TextConfig(vocab_size=260, hidden_size=16, layers=2, num_heads=2, feedforward_dim=24, positions=40)
    encoder = TextEncoder(config, 8).eval()
    tokenizer = Tokenizer(encode_bytes, vocab_size=260, max_tokens=config.max_tokens)
    with torch.no_grad():
        alone, together = encoder(tokenizer(["a dog"])), encoder(tokenizer(["a dog", "a much longer sentence"]))
    length = alone.words.shape[1]
    torch.testing.assert_close(together.words[0, :length], alone.words[0])
    torch.testing.assert_close(together.word_positions[0, :length], alone.word_positions[0])
    torch.testing.assert_close(together.sentence[0], alone.sentence[0])
    assert together.padding_mask[0].sum() == together.words.shape[1] - length


def test_the_longest_expression_is_encoded():
    config = TextConfig(vocab_size=260, hidden_size=16, layers=1, num_heads=2, feedforward_dim=24, positions=12)
    encoder = TextEncoder(config, 8).eval()
    tokenizer = Tokenizer(encode_bytes, vocab_size=260, max_tokens=config.max_tokens)
    assert encoder(tokenizer(["a" * (config.max_tokens - 2)])).words.shape == (1, 10, 8)
