"""What the masks of one video were made from: a record beside them, which belongs to exactly one `.masks` file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mask_interchange.files import file_sha256, open_regular, write_whole

MAX_RECORD = 2**20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeOf:
    """What the masks of one video were made from, as SHA-256 in hexadecimal. Equal values mean the same masks.

    Attributes:
        manifest: of the run's manifest (`RunManifest.sha256`).
        frames: of the frames (`Video.fingerprint`); None if none were read.
        sources: of the `.masks` files that were read, in the order of the runs; None where there was none.
    """

    manifest: str
    frames: str | None = None
    sources: tuple[str | None, ...] = ()


def write_record(record: Path, masks_sha256: str, made_of: MadeOf) -> None:
    """Say of the `.masks` file with this SHA-256 what it was made from.

    The record may be written before its masks: until they are there, it is the record of no file.
    """
    record.parent.mkdir(exist_ok=True)
    write_whole(record, (json.dumps({"masks": masks_sha256, "made_of": asdict(made_of)}, indent=1) + "\n").encode())


def read_record(record: Path, masks: Path) -> MadeOf | None:
    """What `masks` was made from; None if that is not known: one of the two is absent or damaged, or they differ."""
    try:
        with open_regular(record) as stream:
            tree = json.loads(stream.read(MAX_RECORD))
        made_of = MadeOf(**tree["made_of"] | {"sources": tuple(tree["made_of"]["sources"])})
        return made_of if file_sha256(masks) == tree["masks"] else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
