"""Expressions to RoBERTa's token ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rvos_layers.encoders.config import BEGIN, DEMO, END, PAD
from rvos_layers.errors import TokenizerError

FIRST_BYTE = 4
BUNDLED_TOKENIZERS = {DEMO: Path(__file__).with_name("demo_tokenizer")}
VOCABULARY_FILES = ("vocab.json", "merges.txt")
WHAT_TO_PASS = (
    "Pass --tokenizer FOLDER with vocab.json and merges.txt of roberta-base "
    "(https://huggingface.co/FacebookAI/roberta-base), or a hub id while online"
)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokenised expressions, padded to the longest.

    Attributes:
        input_ids: int64[B, L], `PAD` where padded.
        padding_mask: bool[B, L], True where padded.
    """

    input_ids: Tensor
    padding_mask: Tensor

    def to(self, device: torch.device | str) -> "Tokens":
        """The same tokens on another device."""
        return Tokens(self.input_ids.to(device), self.padding_mask.to(device))


class Tokenizer:
    """Turns expressions into `Tokens`. It neither lower-cases nor strips them.

    Args:
        encode: maps one expression to its token ids, with `BEGIN` and `END`.
        vocab_size: number of token embeddings of the text encoder.
        max_tokens: most tokens that the text encoder takes.
    """

    def __init__(self, encode: Callable[[str], list[int]], *, vocab_size: int, max_tokens: int) -> None:
        self.encode = encode
        self.vocab_size = vocab_size
        self.max_tokens = max_tokens

    def __call__(self, expressions: Sequence[str]) -> Tokens:
        """Tokenise and pad.

        Raises:
            TokenizerError: an expression is too long, or the tokenizer is not the one that the model was trained with.
        """
        rows = [self._encode_checked(expression) for expression in expressions]
        length = max(map(len, rows))
        ids = torch.full((len(rows), length), PAD)
        padding = torch.ones(len(rows), length, dtype=torch.bool)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            padding[row, : len(tokens)] = False
        return Tokens(ids, padding)

    def _encode_checked(self, expression: str) -> list[int]:
        tokens = self.encode(expression)
        shown = expression if len(expression) <= 60 else expression[:57] + "..."
        if len(tokens) > self.max_tokens:
            raise TokenizerError(
                f"expression {shown!r} has {len(tokens)} tokens, but the text encoder takes at most "
                f"{self.max_tokens}: shorten it"
            )
        if max(tokens) >= self.vocab_size:
            raise TokenizerError(
                f"expression {shown!r} has token id {max(tokens)}, but the text encoder knows {self.vocab_size} "
                "tokens: pass the tokenizer this model was trained with"
            )
        return tokens


def encode_bytes(expression: str) -> list[int]:
    """One token for each UTF-8 byte. For random weights, for which no vocabulary has a meaning."""
    return [BEGIN, *(FIRST_BYTE + byte for byte in expression.encode()), END]


def pretrained_encoder(source: str) -> Callable[[str], list[int]]:
    """RoBERTa's byte-level BPE.

    Args:
        source: folder that holds `vocab.json` and `merges.txt`, `demo` for the one that this package bundles, or an id
            on the Hugging Face hub (the local cache comes first).

    Raises:
        TokenizerError: the files cannot be read or downloaded, or are not RoBERTa's.
    """
    from transformers import RobertaTokenizerFast

    folder = BUNDLED_TOKENIZERS.get(source) or Path(source).expanduser()
    if not folder.is_dir():
        folder = _from_hub(source)
    # without these files transformers makes an empty tokenizer and does not complain
    missing = [name for name in VOCABULARY_FILES if not (folder / name).is_file()]
    if missing:
        raise TokenizerError(f"tokenizer folder {folder} has no {' and no '.join(missing)}. {WHAT_TO_PASS}")
    try:
        tokenizer = RobertaTokenizerFast.from_pretrained(str(folder))
    except Exception as error:  # transformers raises errors of many types
        raise TokenizerError(f"tokenizer folder {folder} cannot be read: {error}. {WHAT_TO_PASS}") from error
    if tokenizer("")["input_ids"] != [BEGIN, END]:
        raise TokenizerError(
            f"{folder} holds a tokenizer that is not RoBERTa's (<s> 0, <pad> 1, </s> 2). {WHAT_TO_PASS}"
        )
    return lambda expression: tokenizer(expression)["input_ids"]


def _from_hub(repository: str) -> Path:
    """Folder of the hub's cache that holds the files; downloads them if they are missing."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    def fetch(name: str) -> Path:
        try:
            return Path(hf_hub_download(repository, name, local_files_only=True))
        except LocalEntryNotFoundError:
            return Path(hf_hub_download(repository, name))

    try:
        vocabulary, _ = (fetch(name) for name in VOCABULARY_FILES)
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise TokenizerError(
            f"tokenizer {repository!r} is no folder, not in the local Hugging Face cache, and cannot be downloaded "
            f"({type(error).__name__}). {WHAT_TO_PASS}"
        ) from error
    return vocabulary.parent
