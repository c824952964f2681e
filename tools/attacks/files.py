"""Mutated files at every door of a reader: `.masks`, run.json, PNG, COCO JSON, zip files, recipes, worker protocol.

    uv run python tools/attacks/files.py masks --number 100000

Checksums, lengths and compressed streams are made right again after most mutations, so that what lies inside is
reached. Prints counts; the exit code is 1 if a file ends otherwise than with a value or the documented error of its
door, or takes over 500 MB or 5 seconds.
"""

import json
import random
import re
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from fusion_core.errors import FusionCoreError, RecipeError
from fusion_core.recipe.published import RECIPES
from fusion_core.recipe.toml import read_recipe, recipe_as_toml
from fusion_core.running.worker import ProgramWorker, VideoError, WorkerLostError
from fusion_core.submission.checker import check_submission
from fuzzing import TEXTS, VALUES, Attack, changed, command
from mask_interchange import (
    DatasetError,
    Expression,
    MaskFileError,
    MaskRun,
    MaskTrack,
    RunError,
    RunManifest,
    VideoMasks,
    encode_video,
    export_coco,
    import_coco,
    read_masks,
    write_masks,
)
from pictures import change_png, change_zip, png_files, use_png, zip_files

RAW = ("NaN", "-Infinity", "1e999", "-0", "1.5", "9" * 5000, "[" * 900 + "]" * 900, '{"a":' * 70 + "1" + "}" * 70,
       '"\\ud800"', '"\\u0000"', "{}", "[]", "true", "[[0]]", '{"a":1,"a":2}')  # fmt: skip

RAW_TOML = ("inf", "nan", "-1", "0x" + "F" * 5000, "9" * 400, "1979-05-27", "''", "[]", "{}", '"\\u0000"', "true",
            "[[1]]", "a" + ".a" * 5000, '"' + "x" * 9000 + '"', "[" * 400, '"none"', '"first"',
            "{ a = { b = 1 } }")  # fmt: skip


def odd(chance: random.Random) -> Any:
    """A value that does not belong there."""
    return chance.choice(
        (*VALUES, *TEXTS, None, True, 0.5, 1e308, float("inf"), [], {}, [1, 2], {"a": 1}, [None] * 5, [[0]])
    )


def change_tree(tree: Any, chance: random.Random) -> Any:
    """Replace, remove, rename or double something somewhere in a tree of maps and lists."""
    keys: list[Any] = [*tree] if isinstance(tree, dict) else [*range(len(tree))] if isinstance(tree, list) else []
    if not keys:
        if isinstance(tree, bytes | str) and tree and chance.random() < 0.6:
            out = changed(tree if isinstance(tree, bytes) else tree.encode(errors="surrogatepass"), chance)
            return out if isinstance(tree, bytes) else out.decode(errors="replace")
        return odd(chance)
    key = chance.choice(keys)
    match chance.randrange(10):
        case 0:
            del tree[key]
        case 1 if isinstance(tree, dict):
            tree[chance.choice(TEXTS)] = tree.pop(key)
        case 1:
            tree.insert(key, tree[chance.choice(keys)])
        case 2:
            tree[key] = odd(chance)
        case 3:
            tree[key] = tree[chance.choice(keys)]
        case _:
            tree[key] = change_tree(tree[key], chance)
    return tree


def change_json(path: Path, chance: random.Random) -> bytes:
    """A JSON file with changed values, or with changed letters."""
    text = path.read_text()
    match chance.randrange(4):
        case 0:
            return changed(text.encode(), chance)
        case 1:
            places = [m.span() for m in re.finditer(r'"[^"]*"|-?[0-9.]+|null|true|\[\]|\{\}', text)]
            start, end = chance.choice(places)
            return (text[:start] + chance.choice(RAW) + text[end:]).encode()
    tree = json.loads(text)
    for _ in range(chance.choice((1, 1, 2, 4))):
        tree = change_tree(tree, chance)
    return json.dumps(tree).encode()


def video(size: tuple[int, int] = (9, 13), frames: int = 4) -> VideoMasks:
    """Two expressions with everything that a file can hold."""
    rng = np.random.default_rng(7)
    shape = (frames, *size)
    full = MaskTrack.from_masks(
        Expression(id="0", text="a dog → running", group="2"),
        rng.random(shape) < 0.3,
        scores=rng.random(frames),
        support=rng.random(shape) < 0.9,
        soft=rng.integers(0, 256, (frames, min(3, size[0]), min(5, size[1])), np.uint8),
    )
    bare = MaskTrack.from_masks(Expression(id="left one"), np.zeros(shape, bool))
    names = tuple(f"{i:05d}" for i in range(frames))
    return VideoMasks(video="dog", size=size, frame_names=names, tracks=(full, bare))


def manifest() -> RunManifest:
    settings = {"config": "tiny", "soft_masks": None, "nested": {"a": [1, 2.5, "x"]}}
    return RunManifest(
        producer="p",
        producer_version="1",
        checkpoint_sha256="0" * 64,
        settings=settings,
        dataset={"name": "d", "split": None, "fingerprint": "f"},
    )


# --- .masks ---------------------------------------------------------------------------------------------------------


def masks_files(folder: Path) -> list[Path]:
    for i, one in enumerate((video(), video((1, 1), 1), video((64, 48), 12))):
        write_masks(folder / f"{i}.masks", one)
    return sorted(folder.iterdir())


def change_masks(path: Path, chance: random.Random) -> bytes:
    data = path.read_bytes()
    match chance.randrange(8):
        case 0:
            return changed(data, chance)
        case 1:
            return with_checksum(changed(data[24:], chance))
    tree = msgpack.unpackb(data[24:])
    if chance.random() < 0.4:
        packed = chance.choice([p for t in tree["tracks"] for p in (t["masks"], t["support"], t["soft"]) if p])
        content = zlib.decompress(packed["zlib"])
        packed["zlib"] = zlib.compress(content := changed(content, chance))
        if "lengths" in packed and chance.random() < 0.8:  # strings that join to what is there
            frames = len(packed["lengths"]) // 4
            cuts = sorted(chance.randrange(len(content) + 1) for _ in range(frames - 1))
            ends = np.array([0, *cuts, len(content)])
            packed["lengths"] = np.diff(ends).astype("<u4").tobytes()
    else:
        for _ in range(chance.choice((1, 1, 2, 4))):
            tree = change_tree(tree, chance)
    try:
        return with_checksum(msgpack.packb(tree))
    except (OverflowError, ValueError):
        return data[:-1]


def with_checksum(payload: bytes) -> bytes:
    return struct.pack("<8sHHIQ", b"\x89RVMASK\n", 1, 0, zlib.crc32(payload), len(payload)) + payload


def use_masks(path: Path) -> None:
    found = read_masks(path)
    encode_video(found)
    for track in found.tracks:
        track.runs.areas()
        track.mask(0)


# --- run.json, COCO, worker protocol ----------------------------------------------------------------------------------


def run_files(folder: Path) -> list[Path]:
    (folder / "run.json").write_text(manifest().to_json())
    return [folder / "run.json"]


def use_run(path: Path) -> None:
    (folder := path.parent / "run").mkdir(exist_ok=True)
    path.replace(folder / "run.json")
    try:
        run = MaskRun.open(folder)
        run.manifest.difference(manifest())
        manifest().difference(run.manifest)
        run.manifest.to_json()
    finally:
        (folder / "run.json").replace(path)


RUNS = {"size": [2, 3], "counts": [1, 2, 0, 1, 2]}
CATEGORIES = [{"id": 26, "name": "dog"}]
OBJECT = {"id": 7, "image_id": 9, "category_id": 26, "iscrowd": 0, "bbox": [0, 0, 3, 2]}
IMAGES = [{"id": 8 + i, "file_name": f"dog/0000{i}.jpg", "height": 2, "width": 3} for i in range(2)]
OBJECTS = [
    OBJECT | {"segmentation": [[0, 0, 2, 0, 2.5, 2, 0, 1.5], [1, 1, 3, 1, 3, 2]]},
    OBJECT | {"id": 8, "segmentation": RUNS, "attributes": {"track_id": 4, "occluded": False}},
]
VIDEO = {"id": 3, "height": 2, "width": 3, "length": 2, "file_names": ["dog/00000.jpg", "dog/00005.jpg"]}
FOREIGN: list[object] = [
    [{"video_id": 12, "expression_id": 0, "segmentations": [None, RUNS]}],
    {"images": IMAGES, "annotations": OBJECTS, "categories": CATEGORIES},
    {
        "videos": [VIDEO],
        "annotations": [{"id": 5, "video_id": 3, "category_id": 26, "segmentations": [RUNS, None]}],
        "categories": CATEGORIES,
    },
]


def coco_files(folder: Path) -> list[Path]:
    run = MaskRun.create(folder.parent / "run", manifest())
    run.write(video())
    export_coco(run, folder / "0.json")
    for i, tree in enumerate(FOREIGN, start=1):
        (folder / f"{i}.json").write_text(json.dumps(tree))
    return sorted(folder.iterdir())


def protocol_files(folder: Path) -> list[Path]:
    lines = [
        {"event": "started", "video": "dog"},
        {"event": "progress", "video": "dog", "done": 3, "total": 7},
        {"event": "alive", "video": "dog", "processor_seconds": 1.25},
        {"event": "done", "video": "dog"},
        {"event": "failed", "video": "dog", "error": "no such frame"},
    ]
    for line in lines:
        (folder / f"{line['event']}.json").write_text(json.dumps(line))
    return sorted(folder.iterdir())


def change_protocol(path: Path, chance: random.Random) -> bytes:
    return change_json(path, chance) + chance.choice((b"\n", b"\n", b"", b"\r\n\0\n"))


def use_protocol(path: Path) -> None:
    def progress(done: int, total: int) -> None:
        json.dumps({"done": done, "total": total})
        str(min(1.0, done / total) if total > 0 else 0.0)

    worker = ProgramWorker(["sh", "-c", 'cat "$0"', str(path)], path.parent / "log", {})
    try:
        worker.process("dog", progress)
    finally:
        worker.kill()


# --- recipes ----------------------------------------------------------------------------------------------------------


def recipe_files(folder: Path) -> list[Path]:
    for name, recipe in RECIPES.items():
        (folder / f"{name}.toml").write_text(recipe_as_toml(recipe))
    return sorted(folder.iterdir())


def change_recipe(path: Path, chance: random.Random) -> bytes:
    text = path.read_text()
    for _ in range(chance.choice((1, 1, 2, 4))):
        lines = text.split("\n")
        at = chance.randrange(len(lines))
        match chance.randrange(6):
            case 0:
                text = changed(text.encode(), chance).decode(errors="replace")
            case 1:
                del lines[at]
                text = "\n".join(lines)
            case 2:
                lines.insert(at, chance.choice(lines))
                text = "\n".join(lines)
            case 3:
                words = [m.span() for m in re.finditer(r'"[^"\n]*"|[A-Za-z0-9_.]+', text)]
                one, other = (chance.choice(words or [(0, 0)]) for _ in range(2))
                text = text[: one[0]] + text[slice(*other)] + text[one[1] :]
            case _:
                lines[at] = re.sub(r"= .*", lambda _: f"= {chance.choice(RAW_TOML)}", lines[at])
                text = "\n".join(lines)
    return text.encode()


def use_recipe(path: Path) -> None:
    recipe = read_recipe(path)
    _ = recipe.stages
    recipe_as_toml(recipe)


ATTACKS: dict[str, Attack] = {}


def attack(
    name: str,
    originals: Callable[[Path], list[Path]],
    mutated: Callable[[Path, random.Random], bytes],
    read: Callable[[Path], object],
    *refusals: type[Exception],
) -> None:
    ATTACKS[name] = Attack(originals=originals, mutated=mutated, read=read, refusals=refusals)


attack("masks", masks_files, change_masks, use_masks, MaskFileError)
attack("runs", run_files, change_json, use_run, RunError)
attack("coco", coco_files, change_json, lambda path: list(import_coco(path)), DatasetError)
attack("pngs", png_files, change_png, use_png, DatasetError)
attack("zips", zip_files, change_zip, check_submission)
attack("recipes", recipe_files, change_recipe, use_recipe, RecipeError)
attack("protocol", protocol_files, change_protocol, use_protocol, WorkerLostError, VideoError, FusionCoreError)


if __name__ == "__main__":
    sys.exit(command(__doc__.splitlines()[0], ATTACKS))
