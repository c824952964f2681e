"""RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO: sentences about images of COCO's train2014.

    refcoco/refs(unc).p          a pickle; the name in brackets says whose division into splits it has
    grefcoco/grefs(unc).json     the same as JSON, where a sentence may mean several objects or none (ann_id -1)
    <name>/instances.json        images and outlines, in COCO's form

become, for every split,

    instances_<name>_<split>.json        for training, as ReferFormer has it: an image for each sentence, its `caption`
    <split>/meta_expressions.json        with --images: a data set of videos of one frame, to predict and score
    <split>/mask_dict.json
    <split>/JPEGImages/<image>/00000.jpg
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mask_interchange import DatasetError, check_name, encode_mask
from mask_interchange.json_files import JsonPlace, errors_at, read_json
from mask_interchange.rle import check_size
from mask_interchange.segmentations import coco_segmentations
from program_kit.progress import ProgressCallback
from pycocotools import mask as outlines

from fusion_core.conversion.conversion import Conversion, Converted, Request, place_file, write_json
from fusion_core.conversion.plain_pickle import read_plain_pickle

NAMES = ("refcoco", "refcoco+", "refcocog", "grefcoco")
USUAL = ("unc", "umd")  # divisions that the programs of 2023 took; RefCOCOg has umd and google
FRAME = "00000"
NO_OBJECT = -1


@dataclass(frozen=True, slots=True)
class _Sentence:
    """One sentence: its id and text, its image and what it means there."""

    id: str
    text: str
    image: int
    annotations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Instances:
    """`instances.json`: images and annotations by id, each with its place, and the rest."""

    images: Mapping[int, tuple[JsonPlace, dict]]
    annotations: Mapping[int, tuple[JsonPlace, dict]]
    head: Mapping[str, object]


def _refs_files(root: Path) -> dict[str, Path]:
    """The files of references by their division."""
    files = [*root.glob("refs(*).p"), *root.glob("grefs(*).json")]
    return {file.stem.partition("(")[2].removesuffix(")"): file for file in sorted(files)}


def _recognises(root: Path) -> bool:
    return bool(_refs_files(root)) and (root / "instances.json").is_file()


def _convert(request: Request, out: Path, progress: ProgressCallback) -> Converted:
    name = request.root.resolve().name
    if name not in NAMES:
        raise DatasetError(f"{request.root}: expected a folder called {', '.join(NAMES)}, which tells the data set")
    refs = _choose(request, _refs_files(request.root))
    done = Converted()
    for file in (refs, request.root / "instances.json"):
        done.read_from(request.root, file)
    instances = _read_instances(request.root / "instances.json")
    splits = _read_refs(refs, instances)
    seen: set[int] = set()
    for number, (split, sentences) in enumerate(splits.items(), start=1):
        write_json(_for_training(name, sentences, instances), out / f"instances_{name}_{split}.json")
        if request.images is not None:
            _write_videos(sentences, instances, request.images, out / split)
        seen.update(one.image for one in sentences)
        done.expressions += len(sentences)
        done.masks += sum(1 for one in sentences if one.annotations)
        done.nothing += sum(1 for one in sentences if not one.annotations)
        progress(number, len(splits))
    done.videos = len(seen)
    return done


def _choose(request: Request, files: Mapping[str, Path]) -> Path:
    known = ", ".join(files)
    if request.partition is not None:
        if request.partition not in files:
            raise DatasetError(f"{request.root}: no division {request.partition!r}, only {known}")
        return files[request.partition]
    chosen = list(files) if len(files) == 1 else [one for one in USUAL if one in files]
    if len(chosen) != 1:
        raise DatasetError(f"{request.root}: has several divisions; choose one with --partition: {known}")
    return files[chosen[0]]


# --- reading ----------------------------------------------------------------------------------------------------------


def _read_instances(file: Path) -> _Instances:
    at, tree = read_json(file)
    head = {key: at.typed(tree, dict).get(key, []) for key in ("info", "licenses", "categories")}
    return _Instances(_by_id(at, tree, "images"), _by_id(at, tree, "annotations"), head)


def _by_id(at: JsonPlace, tree: object, key: str) -> dict[int, tuple[JsonPlace, dict]]:
    places = ((at / key / str(number), one) for number, one in enumerate(at.get(tree, key, list)))
    return {place.get(one, "id", int): (place, place.typed(one, dict)) for place, one in places}


def _read_refs(file: Path, instances: _Instances) -> dict[str, list[_Sentence]]:
    """The sentences of every split, in the order of the file.

    Raises:
        DatasetError: the file is not of the form, or names an image or an object that `instances.json` does not have.
    """
    is_json = file.suffix == ".json"
    at, tree = read_json(file) if is_json else (JsonPlace(file), read_plain_pickle(file))
    # Lists of a pickle may be one list many times: it holds no more sentences than bytes.
    most = file.stat().st_size
    splits: dict[str, list[_Sentence]] = {}
    count = 0
    for number, ref in enumerate(at.typed(tree, list)):
        place = JsonPlace(file, f"[{number}]")
        with errors_at(place):
            split = check_name("split", place.get(ref, "split", str))
        for sentence in _sentences(place, ref, instances):
            count += 1
            if count > most:
                raise DatasetError(f"{file}: holds more sentences than bytes")
            splits.setdefault(split, []).append(sentence)
    if not splits:
        raise DatasetError(f"{file}: expected references to objects, found none")
    return splits


def _sentences(at: JsonPlace, ref: object, instances: _Instances) -> Iterator[_Sentence]:
    image = at.get(ref, "image_id", int)
    if image not in instances.images:
        raise DatasetError(f"{at / 'image_id'}: expected an image of instances.json, found {image}")
    given = at.typed(ref, dict).get("ann_id")
    ids = [(at / "ann_id").typed(one, int) for one in (given if isinstance(given, list) else [given])]
    meant = tuple(one for one in ids if one != NO_OBJECT)
    for one in meant:
        if one not in instances.annotations or instances.annotations[one][1].get("image_id") != image:
            raise DatasetError(f"{at / 'ann_id'}: expected an object of image {image} in instances.json, found {one}")
    for number, sentence in enumerate(at.get(ref, "sentences", list)):
        place = at / "sentences" / str(number)
        identity = str(place.get(sentence, "sent_id", int))
        yield _Sentence(identity, place.get(sentence, "sent", str), image, meant)


# --- writing ----------------------------------------------------------------------------------------------------------


def _for_training(name: str, sentences: list[_Sentence], instances: _Instances) -> dict[str, object]:
    images, annotations = [], []
    for number, sentence in enumerate(sentences, start=1):
        at, image = instances.images[sentence.image]
        images.append(
            {
                "file_name": at.get(image, "file_name", str),
                "height": at.get(image, "height", int),
                "width": at.get(image, "width", int),
                "original_id": sentence.image,
                "id": number,
                "caption": sentence.text,
                "dataset_name": name,
            }
        )
        for identity in sentence.annotations:
            _, one = instances.annotations[identity]
            kept = {key: one.get(key) for key in ("segmentation", "area", "iscrowd", "bbox", "category_id")}
            annotations.append(kept | {"image_id": number, "id": len(annotations) + 1, "original_id": identity})
    return {**instances.head, "images": images, "annotations": annotations}


def _write_videos(sentences: list[_Sentence], instances: _Instances, images: Path, out: Path) -> None:
    videos: dict[str, dict] = {}
    masks: dict[str, list] = {}
    for sentence in sentences:
        at, image = instances.images[sentence.image]
        file = Path(at.get(image, "file_name", str)).name
        with errors_at(at / "file_name"):
            video = check_name("image", Path(file).stem)
        if video not in videos:
            place_file(images / file, out / "JPEGImages" / video / f"{FRAME}{Path(file).suffix}")
            videos[video] = {"frames": [FRAME], "expressions": {}}
        ids = list(sentence.annotations)
        videos[video]["expressions"][sentence.id] = {"exp": sentence.text, "obj_id": ids, "anno_id": ids}
        size = at.get(image, "height", int), at.get(image, "width", int)
        for one in ids:
            if str(one) not in masks:
                masks[str(one)] = [_run_lengths(*instances.annotations[one], size)]
    write_json({"videos": videos}, out / "meta_expressions.json")
    write_json(masks, out / "mask_dict.json")


def _run_lengths(at: JsonPlace, annotation: dict, size: tuple[int, int]) -> dict[str, object]:
    """The mask of an annotation, from polygons or run lengths, as compressed run lengths."""
    place, outline = at / "segmentation", annotation.get("segmentation")
    if isinstance(outline, dict):
        found, [counts] = coco_segmentations(place, [outline])
        if found != size:
            raise DatasetError(f"{place}: expected the size {list(size)} of the image, found {found}")
        assert counts is not None  # of an object
    else:
        with errors_at(place):
            check_size(size)
            polygons: Any = _polygons(place, outline, size)  # the types of pycocotools know no lists of polygons
            drawn = outlines.decode(outlines.merge(outlines.frPyObjects(polygons, *size)))
            counts = encode_mask(drawn.astype(bool))
    return {"size": list(size), "counts": counts.decode()}


def _polygons(at: JsonPlace, outline: object, size: tuple[int, int]) -> list[list[float]]:
    polygons = at.typed(outline, list)
    farthest = 2 * max(size)  # pycocotools walks along every edge, however long it is
    for one in polygons:
        numbers = np.array(at.typed(one, list), np.float64)
        if numbers.ndim != 1 or len(numbers) < 6 or len(numbers) % 2 or not (np.abs(numbers) <= farthest).all():
            raise DatasetError(f"{at}: expected polygons [x, y, x, y, x, y, ...] in the image, found {one!r:.80}")
    if not polygons:
        raise DatasetError(f"{at}: expected at least one polygon, found none")
    return polygons


CONVERSION = Conversion(
    name="RefCOCO, RefCOCO+, RefCOCOg or gRefCOCO",
    files="refs(..).p or grefs(..).json beside instances.json",
    recognises=_recognises,
    convert=_convert,
)
