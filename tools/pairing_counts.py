"""How often the published pairing mixes two objects, counted on the real expressions of Ref-YouTube-VOS.

    uv run python tools/pairing_counts.py FOLDER

FOLDER holds `meta_expressions/{valid,test}/meta_expressions.json` (the release) and `valid_objects.json` (the first
public form of the same videos, which lists the expressions by object). Split valid means valid minus test.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusion_core.voting.pairing import Pool, consecutive, walk


@dataclass(frozen=True)
class Counts:
    """Pools that a pairing rule makes over a split.

    Attributes:
        pairs: pools of two expressions.
        mixed: pairs whose expressions mean two different objects.
        alone: expressions that vote alone.
    """

    pairs: int
    mixed: int
    alone: int


def videos(folder: Path, split: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """Video id, its expressions in the order of the release, and the object that each one means."""
    release = {name: _read(folder / "meta_expressions" / name / "meta_expressions.json") for name in ("valid", "test")}
    by_object = _read(folder / "valid_objects.json")
    for video, entry in release[split].items():
        if split == "valid" and video in release["test"]:
            continue
        sentences = [expression["exp"] for expression in entry["expressions"].values()]
        objects = by_object[video]["objects"]
        listed = [(sentence, name) for name, one in objects.items() for sentence in one["expressions"]]
        # Both forms list the sentences in the same order. A sentence alone would not do: some are said of two objects.
        if [sentence for sentence, _ in listed] != sentences:
            raise ValueError(f"{video}: the sentences by object do not follow the order of the release")
        yield video, sentences, [name for _, name in listed]


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))["videos"]


def count(pools: Sequence[tuple[Sequence[Pool], Sequence[str]]]) -> Counts:
    """Count over videos, each given as its pools and its expressions' objects."""
    pairs = [(objects, pool.expressions) for found, objects in pools for pool in found if len(pool.expressions) == 2]
    return Counts(
        pairs=len(pairs),
        mixed=sum(objects[a] != objects[b] for objects, (a, b) in pairs),
        alone=sum(len(pool.expressions) == 1 for found, _ in pools for pool in found),
    )


def published(folder: Path, split: str) -> Counts:
    """The published rule: first with second, third with fourth, ..."""
    return count([(consecutive(len(objects)), objects) for _, _, objects in videos(folder, split)])


def ideal_agreement(folder: Path, split: str) -> Counts:
    """Pairing `agreement` if the masks told the objects apart without fail."""
    return count([(walk(len(o), lambda a, b, o=o: o[a] == o[b]), o) for _, _, o in videos(folder, split)])


def mixed_by_sentence(folder: Path, split: str) -> int:
    """Mixed pairs of the published rule if objects are looked up by sentence, the last object that has it winning."""
    looked_up = []
    for _, sentences, objects in videos(folder, split):
        owner = dict(zip(sentences, objects, strict=True))
        looked_up.append((consecutive(len(objects)), [owner[sentence] for sentence in sentences]))
    return count(looked_up).mixed


def main() -> None:
    """Print the table of docs/recipe.md."""
    folder = Path(sys.argv[1])
    print("| split | videos | pairing | pairs | of two objects | alone |")
    print("| --- | --- | --- | --- | --- | --- |")
    for split in ("valid", "test"):
        total = sum(1 for _ in videos(folder, split))
        for pairing, rule in (("consecutive", published), ("agreement", ideal_agreement)):
            counts = rule(folder, split)
            print(f"| {split} | {total} | {pairing} | {counts.pairs} | {counts.mixed} | {counts.alone} |")
    for split in ("valid", "test"):
        print(f"{split}: {mixed_by_sentence(folder, split)} pairs seem mixed if objects are looked up by sentence")


if __name__ == "__main__":
    main()
