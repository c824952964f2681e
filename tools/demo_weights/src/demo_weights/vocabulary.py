"""The tokenizer of the demo configurations: byte-level BPE, as RoBERTa's, over the words of the synthetic videos.

Every word of the closed vocabulary is one token, at the beginning of a sentence and after a space. Any other word
becomes several shorter tokens, at worst bytes, so that every sentence is accepted.
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]  # with RoBERTa's ids 0 to 3
MORE_THAN_ENOUGH = 10_000  # merges; learning ends when every word is one token


def write_tokenizer(folder: Path, words: Sequence[str]) -> int:
    """Write `vocab.json` and `merges.txt`.

    Returns:
        how many tokens there are.
    """
    tokenizer = ByteLevelBPETokenizer()
    lines = [f"{word} {word}" for word in sorted(words)]
    tokenizer.train_from_iterator(
        lines, vocab_size=MORE_THAN_ENOUGH, min_frequency=1, special_tokens=SPECIAL, show_progress=False
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_model(str(folder))
    return tokenizer.get_vocab_size()
