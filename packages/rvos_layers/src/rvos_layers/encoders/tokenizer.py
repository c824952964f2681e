"""Sentences to RoBERTa's token ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rvos_layers.encoders.config import BEGIN, DEMO, END, PAD
from rvos_layers.errors import TokenizerError

FIRST_BYTE = 4
SHIPPED = {DEMO: Path(__file__).with_name("demo_tokenizer")}
VOCABULARY_FILES = ("vocab.json", "merges.txt")
WHAT_TO_PASS = (
    "Pass --tokenizer FOLDER with vocab.json and merges.txt of roberta-base "
    "(https://huggingface.co/FacebookAI/roberta-base), or a hub id while online"
)


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
                f"expression {shown!r} has {len(tokens)} tokens, the text encoder takes at most "
                f"{self.longest}: shorten it"
            )
        if max(tokens) >= self.vocabulary:
            raise TokenizerError(
                f"expression {shown!r} has token id {max(tokens)}, but the text encoder knows {self.vocabulary} "
                "tokens: pass the tokenizer this model was trained with"
            )
        return tokens


def encode_bytes(sentence: str) -> list[int]:
    """One token for each UTF-8 byte. For random weights, which no vocabulary can make meaningful."""
    return [BEGIN, *(FIRST_BYTE + byte for byte in sentence.encode()), END]


def pretrained_encoder(source: str) -> Callable[[str], list[int]]:
    """RoBERTa's byte-level BPE.

    Args:
        source: folder that holds `vocab.json` and `merges.txt`, `demo` for the one that this package ships, or an id
            on the Hugging Face hub (the local cache is looked up first).

    Raises:
        TokenizerError: the files cannot be had, or are not RoBERTa's; says what to pass.
    """
    from transformers import RobertaTokenizerFast

    folder = SHIPPED.get(source) or Path(source).expanduser()
    if not folder.is_dir():
        folder = _from_hub(source)
    # transformers would make an empty tokenizer of a folder without these, and say nothing
    missing = [name for name in VOCABULARY_FILES if not (folder / name).is_file()]
    if missing:
        raise TokenizerError(f"tokenizer folder {folder} has no {' and no '.join(missing)}. {WHAT_TO_PASS}")
    try:
        tokenizer = RobertaTokenizerFast.from_pretrained(str(folder))
    except Exception as error:  # its file readers raise many kinds
        raise TokenizerError(f"tokenizer folder {folder} cannot be read: {error}. {WHAT_TO_PASS}") from error
    if tokenizer("")["input_ids"] != [BEGIN, END]:
        raise TokenizerError(
            f"{folder} holds another tokenizer than RoBERTa's (<s> 0, <pad> 1, </s> 2). {WHAT_TO_PASS}"
        )
    return lambda sentence: tokenizer(sentence)["input_ids"]


def _from_hub(repository: str) -> Path:
    """Folder of the hub's cache that holds the files; downloads them when they are not there yet."""
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
