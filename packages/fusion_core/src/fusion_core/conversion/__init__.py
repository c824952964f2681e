"""Data sets that programs cannot read where they lie, written anew as ones that they can: a module for each.

conversion      what all share
plain_pickle    pickles without their dangers

To add one, write a module with a `CONVERSION` and name it in `CONVERSIONS`. What can be read where it lies is a
format instead (`mask_interchange.dataset_formats`).
"""

from pathlib import Path

from mask_interchange import DatasetError
from program_kit.progress import ProgressCallback

from fusion_core.conversion import jhmdb, refcoco
from fusion_core.conversion.conversion import Conversion, Converted, Request
from fusion_core.errors import FusionCoreError


def _convert_a2d(request: Request, out: Path, progress: ProgressCallback) -> Converted:
    try:
        from fusion_core.conversion import a2d
    except ImportError as error:
        raise FusionCoreError(
            "A2D-Sentences needs h5py: uv run --package fusion-core --extra a2d fusion-core convert-dataset ..."
        ) from error
    return a2d.convert(request, out, progress)


CONVERSIONS = (
    Conversion(
        name="A2D-Sentences",
        files="text_annotations/a2d_annotation.txt",
        recognises=lambda root: (root / "text_annotations" / "a2d_annotation.txt").is_file(),
        convert=_convert_a2d,
    ),
    jhmdb.CONVERSION,
    refcoco.CONVERSION,
)


def find_conversion(root: Path) -> Conversion:
    """The conversion of the data set in a folder.

    Raises:
        DatasetError: there is none; lists those that there are.
    """
    for one in CONVERSIONS:
        if one.recognises(root):
            return one
    known = ", ".join(f"{one.name} ({one.files})" for one in CONVERSIONS)
    raise DatasetError(f"{root}: expected a data set that can be converted, found none of {known}")
