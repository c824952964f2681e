"""Sentences to RoBERTa's token ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rvos_layers.errors import TokenizerError

BEGIN, PAD, END = 0, 1, 2  # RoBERTa's `<s>`, `<pad>`, `</s>`; 3 is `<unk>`
FIRST_BYTE = 4
DEFAULT_TOKENIZER = "roberta-base"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Sentences padded to the longest.

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
    """Turns sentences into `Tokens`, exactly as they are: neither lower-cased nor stripped.

    Args:
        encode: one sentence to its ids, with `BEGIN` and `END`.
        vocabulary: number of token embeddings of the text encoder.
        longest: most tokens it takes.
    """

    def __init__(self, encode: Callable[[str], list[int]], *, vocabulary: int, longest: int) -> None:
        self.encode = encode
        self.vocabulary = vocabulary
        self.longest = longest

    def __call__(self, sentences: Sequence[str]) -> Tokens:
        """Tokenise.

        Raises:
            TokenizerError: a sentence is too long, or the tokenizer is not the one the model was made for.
        """
        rows = [self._checked(sentence) for sentence in sentences]
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), PAD)
        padding = torch.ones(len(rows), longest, dtype=torch.bool)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            padding[row, : len(tokens)] = False
        return Tokens(ids, padding)

    def _checked(self, sentence: str) -> list[int]:
        tokens = self.encode(sentence)
        shown = sentence if len(sentence) <= 60 else sentence[:57] + "..."
        if len(tokens) > self.longest:
            raise TokenizerError(
                f"expression {shown!r} has {len(tokens)} tokens, the text encoder takes at most {self.longest}: shorten it"
            )
        if max(tokens) >= self.vocabulary:
            raise TokenizerError(
                f"expression {shown!r} has token id {max(tokens)}, but the text encoder knows {self.vocabulary} tokens: "
                "pass the tokenizer this model was trained with"
            )
        return tokens


def encode_bytes(sentence: str) -> list[int]:
    """One token for each UTF-8 byte. For random weights, which no vocabulary can make meaningful."""
    return [BEGIN, *(FIRST_BYTE + byte for byte in sentence.encode()), END]


def pretrained_encoder(source: str) -> Callable[[str], list[int]]:
    """RoBERTa's byte-level BPE.

    Args:
        source: folder that holds `tokenizer.json`, or `vocab.json` and `merges.txt`; or an id on the Hugging Face hub.

    Raises:
        TokenizerError: the files cannot be had; says what to pass.
    """
    from transformers import RobertaTokenizerFast

    folder = Path(source).expanduser()
    if folder.is_dir():
        names = {path.name for path in folder.iterdir()}
        if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
            raise TokenizerError(
                f"{folder}: expected tokenizer.json, or vocab.json and merges.txt; found {sorted(names) or 'nothing'}"
            )
    try:
        tokenizer = RobertaTokenizerFast.from_pretrained(str(folder) if folder.is_dir() else source)
    except Exception as error:  # the hub client raises many kinds, none of which says what this program needs
        raise TokenizerError(
            f"cannot load tokenizer {source!r} ({type(error).__name__}: {str(error).splitlines()[0]}). Pass a folder that "
            "holds vocab.json and merges.txt of roberta-base (from https://huggingface.co/FacebookAI/roberta-base), or a hub "
            "id while online"
        ) from error
    return lambda sentence: tokenizer(sentence)["input_ids"]
