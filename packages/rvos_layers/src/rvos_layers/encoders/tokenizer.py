"""Expressions to the token ids of RoBERTa or BERT."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from program_kit.messages import log
from program_kit.origin import Origin
from program_kit.weights_folder import stored
from torch import Tensor

from rvos_layers.encoders.config import BEGIN, DEMO, END, PAD, ROBERTA_BASE
from rvos_layers.errors import TokenizerError

if TYPE_CHECKING:
    import tokenizers

AUTO, BYTES = "auto", "bytes"  # what names a tokenizer, apart from `demo`, folders and hub ids
BUNDLED_TOKENIZERS = {DEMO: Path(__file__).with_name("demo_tokenizer")}  # RoBERTa's kind of files

Encode = Callable[[str], list[int]]  # an expression to its token ids, those of its begin and end among them


def _read_roberta(folder: Path) -> "tokenizers.Tokenizer":
    """Byte-level BPE, as the files of a folder say."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<s>", "</s>", "<unk>", "<pad>", "<mask>"])
    begin, end = (tokenizer.token_to_id(name) for name in ("<s>", "</s>"))
    assert begin is not None  # added, where the files lack it
    assert end is not None
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", end), ("<s>", begin))
    return tokenizer


def _read_bert(folder: Path) -> "tokenizers.BertWordPieceTokenizer":
    """Word pieces, as the file of a folder says."""
    from tokenizers import BertWordPieceTokenizer

    return BertWordPieceTokenizer(str(folder / "vocab.txt"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The vocabulary of a published text encoder.

    Attributes:
        name: its id on the Hugging Face hub.
        page: where a user finds its files.
        files: names of the files that a folder must hold.
        read: makes the tokenizer of a folder.
        begin, pad, end: ids of the special tokens.
        pad_token: the one of `pad`.
        first_byte: id of byte 0 where every byte is a token.
    """

    name: str
    page: str
    files: tuple[str, ...]
    read: "Callable[[Path], tokenizers.Tokenizer | tokenizers.BertWordPieceTokenizer]"
    begin: int
    pad: int
    end: int
    pad_token: str
    first_byte: int

    @property
    def what_to_pass(self) -> str:
        """The last sentence of messages about files."""
        return (
            f"Run `uv run fusion-core weights fetch {self.name}`, or pass --tokenizer FOLDER with "
            f"{' and '.join(self.files)} of {self.name} ({self.page}), or a hub id while online"
        )


ROBERTA = Vocabulary(
    name=ROBERTA_BASE,
    page="https://huggingface.co/FacebookAI/roberta-base",
    files=("vocab.json", "merges.txt"),
    read=_read_roberta,
    begin=BEGIN,
    pad=PAD,
    end=END,
    pad_token="<pad>",
    first_byte=4,
)
BERT = Vocabulary(
    name="bert-base-uncased",
    page="https://huggingface.co/google-bert/bert-base-uncased",
    files=("vocab.txt",),
    read=_read_bert,
    begin=101,
    pad=0,
    end=102,
    pad_token="[PAD]",
    first_byte=103,
)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokenised expressions, padded to the longest.

    Attributes:
        input_ids: int64[B, L], the id of the padding where padded.
        padding_mask: bool[B, L], True where padded.
    """

    input_ids: Tensor
    padding_mask: Tensor

    def to(self, device: torch.device | str) -> "Tokens":
        """The same tokens on another device."""
        return Tokens(self.input_ids.to(device), self.padding_mask.to(device))


class Tokenizer:
    """Turns expressions into `Tokens`. It neither lower-cases nor strips them; `encode` may.

    Args:
        encode: maps one expression to its token ids.
        vocab_size: number of token embeddings of the text encoder.
        max_tokens: most tokens that the text encoder takes.
        pad: id of the padding.
        truncate: whether an expression with more tokens is cut before its last one, instead of refused.
    """

    def __init__(
        self, encode: Encode, *, vocab_size: int, max_tokens: int, pad: int = PAD, truncate: bool = False
    ) -> None:
        self.encode = encode
        self.vocab_size = vocab_size
        self.max_tokens = max_tokens
        self.pad = pad
        self.truncate = truncate

    def __call__(self, expressions: Sequence[str]) -> Tokens:
        """Tokenise and pad.

        Raises:
            TokenizerError: an expression is too long, or the tokenizer is not the one that the model was trained with.
        """
        rows = [self._encode_checked(expression) for expression in expressions]
        length = max(map(len, rows))
        ids = torch.full((len(rows), length), self.pad)
        padding = torch.ones(len(rows), length, dtype=torch.bool)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            padding[row, : len(tokens)] = False
        return Tokens(ids, padding)

    def _encode_checked(self, expression: str) -> list[int]:
        tokens = self.encode(expression)
        shown = expression if len(expression) <= 60 else expression[:57] + "..."
        if len(tokens) > self.max_tokens:
            if not self.truncate:
                raise TokenizerError(
                    f"expression {shown!r} has {len(tokens)} tokens, but the text encoder takes at most "
                    f"{self.max_tokens}: shorten it"
                )
            tokens = [*tokens[: self.max_tokens - 1], tokens[-1]]
        if max(tokens) >= self.vocab_size:
            raise TokenizerError(
                f"expression {shown!r} has token id {max(tokens)}, but the text encoder knows {self.vocab_size} "
                "tokens: pass the tokenizer this model was trained with"
            )
        return tokens


def tokenizer_name(name: str, *, usual: str, untrained: bool = False, origin: Origin | None = None) -> str:
    """The tokenizer that a name means.

    Args:
        name: as in `named_encoder`; or `auto` for the one that the weights were trained with.
        usual: the tokenizer of the configuration, for weights that do not tell.
        untrained: whether the weights are random; they go with `bytes`.
        origin: what the weights' file says of itself.
    """
    trained_with = "" if origin is None else origin.tokenizer
    if name == AUTO:
        return BYTES if untrained else trained_with or usual
    if trained_with and name != trained_with and {name, trained_with} & {BYTES, DEMO}:
        log.warning(f"the weights were trained with tokenizer {trained_with!r}, not with {name!r}")
    return name


def named_encoder(name: str, vocabulary: Vocabulary = ROBERTA) -> Encode:
    """The encoder of a name.

    Args:
        name: `bytes` for one token for each byte; else as the source of `pretrained_encoder`.
        vocabulary: of the text encoder.

    Raises:
        TokenizerError: as `pretrained_encoder`.
    """
    if name == BYTES:
        return partial(encode_bytes, vocabulary=vocabulary)
    return pretrained_encoder(name, vocabulary)


def encode_bytes(expression: str, vocabulary: Vocabulary = ROBERTA) -> list[int]:
    """One token for each UTF-8 byte. For random weights, for which no vocabulary has a meaning."""
    return [vocabulary.begin, *(vocabulary.first_byte + byte for byte in expression.encode()), vocabulary.end]


def pretrained_encoder(source: str, vocabulary: Vocabulary = ROBERTA) -> Encode:
    """RoBERTa's byte-level BPE, or BERT's word pieces.

    Args:
        source: folder that holds the files of the vocabulary, or an id on the Hugging Face hub (the user's folder of
            weights and the local cache come first); `demo` for the vocabulary that this package bundles, of which every
            text encoder can learn.
        vocabulary: which of the two.

    Raises:
        TokenizerError: the files cannot be read or downloaded, or are those of another vocabulary.
    """
    if source in BUNDLED_TOKENIZERS:
        folder, vocabulary = BUNDLED_TOKENIZERS[source], ROBERTA
    else:
        folder = Path(source).expanduser()
        if not folder.is_dir():
            fetched = stored(source) if source == vocabulary.name else None
            folder = fetched or _from_hub(source, vocabulary)
    missing = [name for name in vocabulary.files if not (folder / name).is_file()]
    if missing:
        raise TokenizerError(f"tokenizer folder {folder} has no {' and no '.join(missing)}. {vocabulary.what_to_pass}")
    try:
        tokenizer = vocabulary.read(folder)
    except Exception as error:  # that is the type that tokenizers raises
        raise TokenizerError(f"tokenizer folder {folder} cannot be read: {error}. {vocabulary.what_to_pass}") from error
    expected = [vocabulary.begin, vocabulary.end, vocabulary.pad]
    found = [*tokenizer.encode("").ids, tokenizer.token_to_id(vocabulary.pad_token)]
    if found != expected:
        raise TokenizerError(
            f"{folder} holds a tokenizer that is not that of {vocabulary.name}: expected the ids {expected} for begin, "
            f"end and padding, found {found}. {vocabulary.what_to_pass}"
        )
    return lambda expression: tokenizer.encode(expression).ids


def _from_hub(repository: str, vocabulary: Vocabulary) -> Path:
    """Folder of the hub's cache that holds the files; downloads them if they are missing."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    def fetch(name: str) -> Path:
        try:
            return Path(hf_hub_download(repository, name, local_files_only=True))
        except LocalEntryNotFoundError:
            return Path(hf_hub_download(repository, name))

    try:
        files = [fetch(name) for name in vocabulary.files]
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise TokenizerError(
            f"tokenizer {repository!r} is no folder, not in the local Hugging Face cache, and cannot be downloaded "
            f"({type(error).__name__}). {vocabulary.what_to_pass}"
        ) from error
    return files[0].parent
