"""Expressions to BERT's token ids."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from rvos_layers.encoders.tokenizer import pretrained_encoder
from tokenizers import BertWordPieceTokenizer
from torch import Tensor

from uninext.config import DEMO_TOKENIZER, PUBLISHED_TOKENIZER, TextConfig
from uninext.errors import TokenizerError
from uninext.preprocess import clean_expression

PAD, BEGIN, END = 0, 101, 102  # BERT's [PAD], [CLS], [SEP]
FIRST_BYTE = END + 1
VOCABULARY_FILE = "vocab.txt"
WHAT_TO_PASS = (
    "Pass --tokenizer FOLDER with vocab.txt of bert-base-uncased "
    "(https://huggingface.co/google-bert/bert-base-uncased), or a hub id while online"
)

AUTO, BYTES = "auto", "bytes"  # names of tokenizers, beside `demo`, folders and hub ids

Encode = Callable[[str, int], list[int]]  # cleaned sentence, most tokens allowed -> ids with BEGIN and END


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Expressions as token ids.

    Attributes:
        input_ids: int64 [E, N], 0 where padded.
        padding_mask: bool [E, N], True where padded.
    """

    input_ids: Tensor
    padding_mask: Tensor

    def to(self, device: torch.device | str) -> "Tokens":
        """The same tokens on another device."""
        return Tokens(self.input_ids.to(device), self.padding_mask.to(device))


class Tokenizer:
    """Cleans expressions as the published code does and turns them into `Tokens`.

    An expression with more tokens than the network was trained with (256) is cut there, as in the published code.

    Args:
        encode: turns one cleaned expression into ids.
        config: of the text encoder that gets them.
    """

    def __init__(self, encode: Encode, config: TextConfig) -> None:
        self.encode = encode
        self.config = config

    def __call__(self, expressions: Sequence[str]) -> Tokens:
        """Tokenise, padded to the longest.

        Raises:
            TokenizerError: the tokenizer is not the one that the network was made for.
        """
        rows = [torch.tensor(self._ids(expression)) for expression in expressions]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
        lengths = torch.tensor([len(row) for row in rows])
        return Tokens(ids, torch.arange(ids.shape[1]) >= lengths[:, None])

    def _ids(self, expression: str) -> list[int]:
        ids = self.encode(clean_expression(expression), self.config.max_tokens)
        if max(ids) >= self.config.vocab_size:
            raise TokenizerError(
                f"expression {expression!r} has token id {max(ids)}, but the text encoder knows "
                f"{self.config.vocab_size} tokens: pass the tokenizer this network was trained with"
            )
        return ids


def named_encoder(name: str, *, usual: str = PUBLISHED_TOKENIZER, random_weights: bool = False) -> Encode:
    """The encoder of a name.

    Args:
        name: a folder with `vocab.txt`; an id on the Hugging Face hub; `bytes` for one token a byte; `demo` for the
            tokenizer of demo configurations; `auto` for the usual one, and for `bytes` with random weights, which no
            vocabulary can make meaningful.
        usual: the configuration's tokenizer.
        random_weights: whether the network is untrained.

    Raises:
        TokenizerError: it cannot be had.
    """
    if name == AUTO:
        name = BYTES if random_weights else usual
    if name == DEMO_TOKENIZER:
        return demo_encoder()
    return encode_bytes if name == BYTES else wordpiece_encoder(name)


def encode_bytes(sentence: str, longest: int) -> list[int]:
    """One token for each UTF-8 byte, longest sequence `longest`."""
    return [BEGIN, *(FIRST_BYTE + byte for byte in sentence.encode()[: longest - 2]), END]


def demo_encoder() -> Encode:
    """The words of the drawn videos as one token each, others in pieces; shared by all demo configurations."""
    encode = pretrained_encoder(DEMO_TOKENIZER)

    def cut(sentence: str, longest: int) -> list[int]:
        ids = encode(sentence)
        return ids if len(ids) <= longest else [*ids[: longest - 1], ids[-1]]

    return cut


def wordpiece_encoder(source: str) -> Encode:
    """BERT's uncased word pieces.

    Args:
        source: folder that holds `vocab.txt`, or an id on the Hugging Face hub (the local cache is looked up first).

    Raises:
        TokenizerError: the file cannot be had, or is not BERT's; says what to pass.
    """
    folder = Path(source).expanduser()
    vocabulary = folder / VOCABULARY_FILE if folder.is_dir() else _from_hub(source)
    if not vocabulary.is_file():  # transformers would make an almost empty tokenizer and say nothing
        raise TokenizerError(f"tokenizer folder {folder} has no {VOCABULARY_FILE}. {WHAT_TO_PASS}")
    try:
        tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    except Exception as error:  # its reader raises bare exceptions
        raise TokenizerError(f"tokenizer file {vocabulary} cannot be read: {error}. {WHAT_TO_PASS}") from error
    if tokenizer.encode("").ids != [BEGIN, END] or tokenizer.token_to_id("[PAD]") != PAD:
        raise TokenizerError(f"{vocabulary} is not BERT's ([PAD] 0, [CLS] 101, [SEP] 102). {WHAT_TO_PASS}")

    def encode(sentence: str, longest: int) -> list[int]:
        tokenizer.enable_truncation(longest)
        return tokenizer.encode(sentence).ids

    return encode


def _from_hub(repository: str) -> Path:
    """`vocab.txt` in the hub's cache; downloaded when it is not there yet."""
    try:
        try:
            return Path(hf_hub_download(repository, VOCABULARY_FILE, local_files_only=True))
        except LocalEntryNotFoundError:
            return Path(hf_hub_download(repository, VOCABULARY_FILE))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise TokenizerError(
            f"tokenizer {repository!r} is no folder, not in the local Hugging Face cache, and cannot be downloaded "
            f"({type(error).__name__}). {WHAT_TO_PASS}"
        ) from error
