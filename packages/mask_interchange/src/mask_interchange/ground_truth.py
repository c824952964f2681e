"""Where the masks of a data set lie, and which of them each expression means.

<folder>/<video>/<frame>.png            label images
<folder>/<video>/<name>/<frame>.png     a folder for each expression or for each object
<file>.json                             lists of COCO run lengths: `{name: [one a frame, or null]}` (mask_dict.json
                                        of MeViS and ReVOS), or `annotations` of YouTube-VIS, named by their ids
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mask_interchange.errors import DatasetError
from mask_interchange.json_files import JsonPlace
from mask_interchange.rle import Size
from mask_interchange.segmentations import coco_segmentations

Targets = Mapping[str, tuple[str, ...]]  # expression -> names of its masks


@dataclass(frozen=True, kw_only=True)
class GroundTruth:
    """The masks of a data set.

    Attributes:
        path: a folder of PNG files, or a JSON file of run lengths.
        targets: by video, the names of the masks of each expression: labels of label images, names of object folders,
            keys of the JSON file. No names: the expression means nothing in the video. An expression that is absent
            is one of which the description does not say what it means.
    """

    path: Path
    targets: Mapping[str, Targets] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MaskList:
    """The masks of one object, as they stand in a file: one entry a frame."""

    place: JsonPlace
    segmentations: list[object]

    def __len__(self) -> int:
        return len(self.segmentations)

    def counts(self) -> tuple[Size | None, tuple[bytes | None, ...]]:
        """As `coco_segmentations`. Raises DatasetError."""
        return coco_segmentations(self.place, self.segmentations)


def names_itself(tree: object) -> bool:
    """Whether a JSON file numbers tracks of videos that it describes, as COCO and YouTube-VIS do."""
    return isinstance(tree, dict) and "annotations" in tree


def mask_lists(at: JsonPlace, tree: object) -> dict[str, MaskList]:
    """The masks of a JSON file by name. They are checked when they are asked for.

    Raises:
        DatasetError: the file is not of the form described above; says where.
    """
    lists = at.typed(tree, dict)
    if not names_itself(lists):
        return {key: MaskList(at / key, at.get(lists, key, list)) for key in lists}
    tracks: dict[str, MaskList] = {}
    for number, one in enumerate(at.get(lists, "annotations", list)):
        place = at / "annotations" / str(number)
        key = str(place.get(one, "id", int))
        if key in tracks:
            raise DatasetError(f"{place / 'id'}: expected a new id, found {key} again")
        tracks[key] = MaskList(place / "segmentations", place.get(one, "segmentations", list))
    return tracks
