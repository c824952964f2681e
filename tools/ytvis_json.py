"""Ref-YouTube-VOS expressions as the YTVIS-style JSON that UNINEXT's own data loaders read, and back.

    uv run python tools/ytvis_json.py write ROOT [--split valid] valid.json
    uv run python tools/ytvis_json.py read valid.json meta_expressions.json

`uninext-infer` reads the data set directly and needs neither; this is for moving between the two code bases. In the
YTVIS form each expression is a "video" of its own (`video` and `exp_id` say which), numbered from 1, with the size of
the first frame and the frames' files below `JPEGImages`. The key `obj_id` is this tool's addition: the object that a
sentence means, where the data set says so; without it the way back would lose it.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mask_interchange import DatasetError, MaskInterchangeError, check_name, open_dataset
from mask_interchange.json_files import JsonPlace, read_json

CATEGORIES = [{"supercategory": "object", "id": 1, "name": "object"}]
SUFFIX = ".jpg"  # of the release's frames


def to_ytvis(root: Path, split: str | None) -> dict[str, list]:
    """The YTVIS form of a data set; videos by name, expressions in the data set's order."""
    dataset = open_dataset(root, split)
    entries = []
    for name in sorted(dataset.videos):
        video = dataset.videos[name]
        height, width = video.size
        files = [f"{video.id}/{frame}{SUFFIX}" for frame in video.frame_names]
        for expression in video.expressions:
            entry = {
                "id": len(entries) + 1,
                "height": height,
                "width": width,
                "length": len(files),
                "file_names": files,
                "expressions": [expression.text],
                "video": video.id,
                "exp_id": expression.id,
            }
            entries.append(entry if expression.group is None else entry | {"obj_id": expression.group})
    return {"videos": entries, "categories": CATEGORIES}


def from_ytvis(file: Path) -> dict[str, dict]:
    """The content of `meta_expressions.json` for a file in YTVIS form.

    Raises:
        DatasetError: names the entry and what is wrong with it.
    """
    top, content = read_json(file)
    videos: dict[str, dict] = {}
    for at, entry in _entries(top, content):
        name = check_name("video", at.get(entry, "video", str))
        frames = [_frame(at / "file_names", name, path) for path in at.get(entry, "file_names", list)]
        video = videos.setdefault(name, {"expressions": {}, "frames": frames})
        if video["frames"] != frames:
            raise DatasetError(f"{at}: lists other frames than the entries before it of video {name!r}")
        key = check_name("expression", at.get(entry, "exp_id", str))
        if key in video["expressions"]:
            raise DatasetError(f"{at}: video {name!r} has expression {key!r} already")
        video["expressions"][key] = _expression(at, entry)
    return {"videos": videos}


def _entries(top: JsonPlace, content: object) -> Iterator[tuple[JsonPlace, object]]:
    for number, entry in enumerate(top.get(content, "videos", list)):
        yield top / "videos" / str(number), entry


def _expression(at: JsonPlace, entry: object) -> dict[str, str]:
    texts = at.get(entry, "expressions", list)
    if len(texts) != 1:
        raise DatasetError(f"{at / 'expressions'}: expected one expression an entry, found {len(texts)}")
    expression = {"exp": (at / "expressions").typed(texts[0], str)}
    group = at.optional(entry, "obj_id", str)
    return expression if group is None else expression | {"obj_id": group}


def _frame(at: JsonPlace, video: str, path: object) -> str:
    """Name of the frame in `<video>/<frame>.jpg`."""
    file = PurePosixPath(at.typed(path, str))
    if len(file.parts) != 2 or file.parts[0] != video:
        raise DatasetError(f"{at}: expected {video}/<frame>{SUFFIX}, found {str(file)!r}")
    return check_name("frame", file.stem)


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    write = commands.add_parser("write", help="data set folder to YTVIS-style JSON")
    write.add_argument("root", type=Path)
    write.add_argument("output", type=Path)
    write.add_argument("--split", help="of the release; valid means valid minus test")
    read = commands.add_parser("read", help="YTVIS-style JSON to meta_expressions.json")
    read.add_argument("input", type=Path)
    read.add_argument("output", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.command == "write":
            content = to_ytvis(arguments.root, arguments.split)
        else:
            content = from_ytvis(arguments.input)
        arguments.output.write_text(json.dumps(content), encoding="utf-8")
    except (MaskInterchangeError, OSError) as error:
        print(f"ytvis_json: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
