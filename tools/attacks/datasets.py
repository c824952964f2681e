"""Mutated descriptions of data sets, lists of masks, texts of Ref-DAVIS17, and references of RefCOCO.

    uv run python tools/attacks/datasets.py descriptions --number 100000

Counts and exit code as in `files.py`.
"""

import json
import pickle
import random
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from files import change_json
from fusion_core.conversion import find_conversion
from fusion_core.conversion.conversion import Request
from fuzzing import Attack, changed, command
from mask_interchange import DatasetError, open_dataset
from mask_interchange.dataset_formats.ref_davis17 import FILES, TEXTS
from mask_interchange.ground_truth import mask_lists
from mask_interchange.json_files import read_json
from PIL import Image
from rvos_evaluation.errors import EvaluationError
from rvos_evaluation.truth_check import TruthCheck

NAMES = ["00000", "00005"]
RUNS = {"size": [6, 8], "counts": [0, 6, 42]}
EXPRESSIONS = {"0": {"exp": "a dog", "obj_id": [0, 1], "anno_id": [4, 9]}, "1": {"exp": "it", "obj_id": "3"}}
OBJECTS = {"1": {"category": "dog", "frames": NAMES, "expressions": ["a dog", "it runs"]}}
VIDEO = {"id": 3, "width": 8, "height": 6, "length": 2, "file_names": [f"dog/{name}.jpg" for name in NAMES]}
TRACK = {"id": 5, "video_id": 3, "category_id": 26, "segmentations": [None, RUNS]}
CATEGORIES = [{"id": 26, "name": "dog"}]
SENTENCES = {"expressions": ["a dog"], "exp_id": "0", "video": "dog"}
DESCRIPTIONS = (
    {"videos": {"dog": {"frames": NAMES, "expressions": EXPRESSIONS}, "a/cat": {"frames": NAMES, "expressions": {}}}},
    {"videos": {"dog": {"objects": OBJECTS}}},
    {"videos": [VIDEO], "categories": CATEGORIES, "annotations": [TRACK]},
    {"videos": [VIDEO | SENTENCES, VIDEO | {"id": 4, "expressions": [["a", "b"]]}], "categories": CATEGORIES},
)
MASKS = {"4": [RUNS, None], "9": [{"size": [6, 8], "counts": "06:0"}, RUNS], "3": [None, None]}
IMAGE = {"id": 9, "file_name": "9.jpg", "height": 6, "width": 8}
OBJECT = {"image_id": 9, "category_id": 1, "area": 15, "bbox": [1, 1, 5, 3]}
ANNOTATIONS = [
    OBJECT | {"id": 77, "iscrowd": 0, "segmentation": [[1, 1, 6, 1, 6, 4, 1, 4]]},
    OBJECT | {"id": 78, "iscrowd": 1, "segmentation": RUNS},
]
INSTANCES = {"info": {}, "licenses": [], "categories": CATEGORIES, "images": [IMAGE], "annotations": ANNOTATIONS}
SAID = [{"sent_id": k, "sent": text, "raw": text, "tokens": text.split()} for k, text in enumerate(("a dog", "it"))]
REFS = [{"ref_id": 1, "ann_id": one, "image_id": 9, "split": "val", "sentences": SAID} for one in (77, 78)]
GREFS = [*REFS, REFS[0] | {"ann_id": [77, 78]}, REFS[0] | {"ann_id": [-1]}]


def json_files(folder: Path, *trees: object) -> list[Path]:
    """Files of these trees."""
    files = [folder / f"{number}.json" for number in range(len(trees))]
    for file, tree in zip(files, trees, strict=True):
        file.write_text(json.dumps(tree))
    return files


def description_files(folder: Path) -> list[Path]:
    """Descriptions of every form."""
    return json_files(folder, *DESCRIPTIONS)


def use_description(path: Path) -> None:
    """Everything that is asked of a data set; one faulty video does not spare the others."""
    dataset = open_dataset(path)
    dataset.check()
    for name in dataset.videos:
        with suppress(DatasetError):
            _ = dataset.videos[name].expressions
    path.with_name("mask_dict.json").write_text(json.dumps(MASKS))
    with suppress(EvaluationError):
        check = TruthCheck(open_dataset(path))
        for name in dataset.videos:
            list(check.faults(name))


def mask_files(folder: Path) -> list[Path]:
    """Lists of masks of both forms."""
    return json_files(folder, MASKS, DESCRIPTIONS[2])


def use_masks(path: Path) -> None:
    """Every list, whatever the others are."""
    for masks in mask_lists(*read_json(path)).values():
        with suppress(DatasetError):
            masks.counts()


def text_files(folder: Path) -> list[Path]:
    """One text file of Ref-DAVIS17."""
    file = folder / "text.txt"
    file.write_text('dog 1 "a dog"\nclasic-car 2 "the car"\nclasic-car 10 "caf\u00e9"\n')
    return [file]


def use_text(path: Path) -> None:
    """The data set with this text four times."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for one in ("ImageSets/2017", "JPEGImages/480p/dog", "JPEGImages/480p/classic-car", TEXTS):
            (root / one).mkdir(parents=True)
        for video in ("dog", "classic-car"):
            Image.new("RGB", (8, 6)).save(root / "JPEGImages/480p" / video / "00000.jpg")
        (root / "ImageSets/2017/val.txt").write_text("dog\nclassic-car\n")
        for name in FILES:
            (root / TEXTS / name).write_bytes(path.read_bytes())
        open_dataset(root).check()


def pickle_files(folder: Path) -> list[Path]:
    """References as pickles of several protocols."""
    files = [folder / f"{protocol}.p" for protocol in (0, 1, 2, 4)]
    for file in files:
        file.write_bytes(pickle.dumps(REFS, int(file.stem)))
    return files


def reference_files(folder: Path) -> list[Path]:
    """References of gRefCOCO."""
    return json_files(folder, GREFS)


def instance_files(folder: Path) -> list[Path]:
    """Images and objects."""
    return json_files(folder, INSTANCES)


def convert(refs: bytes, name: str, instances: bytes) -> None:
    """Carry out the conversion of these files."""
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "refcoco", Path(folder) / "out"
        root.mkdir()
        out.mkdir()
        (root / name).write_bytes(refs)
        (root / "instances.json").write_bytes(instances)
        Image.new("RGB", (8, 6)).save(Path(folder) / "9.jpg")
        request = Request(root=root, images=Path(folder))
        find_conversion(root).convert(request, out, lambda done, total: None)


def change_bytes(path: Path, chance: random.Random) -> bytes:
    """Any bytes."""
    return changed(path.read_bytes(), chance)


def use_references(path: Path) -> None:
    """References, with sound images and objects."""
    convert(path.read_bytes(), "grefs(unc).json", json.dumps(INSTANCES).encode())


def use_pickle(path: Path) -> None:
    """References as a pickle."""
    convert(path.read_bytes(), "refs(unc).p", json.dumps(INSTANCES).encode())


def use_instances(path: Path) -> None:
    """Images and objects, with sound references."""
    convert(json.dumps(GREFS).encode(), "grefs(unc).json", path.read_bytes())


REFUSED = (DatasetError,)
ATTACKS = {
    "descriptions": Attack(originals=description_files, mutated=change_json, read=use_description, refusals=REFUSED),
    "mask-lists": Attack(originals=mask_files, mutated=change_json, read=use_masks, refusals=REFUSED),
    "texts": Attack(originals=text_files, mutated=change_bytes, read=use_text, refusals=REFUSED),
    "pickles": Attack(originals=pickle_files, mutated=change_bytes, read=use_pickle, refusals=REFUSED),
    "references": Attack(originals=reference_files, mutated=change_json, read=use_references, refusals=REFUSED),
    "instances": Attack(originals=instance_files, mutated=change_json, read=use_instances, refusals=REFUSED),
}


if __name__ == "__main__":
    sys.exit(command(__doc__.splitlines()[0], ATTACKS))
