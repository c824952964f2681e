"""Mutated PNG files and the zip files of submissions that hold them."""

import io
import random
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
from fuzzing import TEXTS, VALUES, changed
from mask_interchange import DatasetError, import_annotations
from mask_interchange.images import read_rgb
from PIL import Image


def png_files(folder: Path) -> list[Path]:
    labels = np.random.default_rng(3).integers(0, 3, (12, 17), np.uint8)
    grey = Image.fromarray(np.where(labels > 1, 255, 0).astype(np.uint8))
    palette = Image.fromarray(labels)
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    grey.save(folder / "grey.png")
    grey.convert("1").save(folder / "bits.png")
    palette.save(folder / "palette.png")
    palette.convert("RGB").save(folder / "rgb.png", dpi=(72, 72), exif=Image.Exif())
    grey.convert("LA").save(folder / "alpha.png")
    return sorted(folder.iterdir())


def change_png(path: Path, chance: random.Random) -> bytes:
    return changed_png(path.read_bytes(), chance)


def changed_png(data: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.15:
        return changed(data, chance)
    chunks, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += length + 12
    kinds = (
        b"IHDR",
        b"PLTE",
        b"IDAT",
        b"IEND",
        b"iCCP",
        b"zTXt",
        b"iTXt",
        b"tRNS",
        b"pHYs",
        b"eXIf",
        b"acTL",
        b"fcTL",
        b"fdAT",
        b"gAMA",
    )
    for _ in range(chance.choice((1, 1, 2, 3))):
        if not chunks:
            break
        number = chance.randrange(len(chunks))
        kind, content = chunks[number]
        match chance.randrange(7):
            case 0 if kind == b"IDAT":
                try:
                    content = zlib.compress(changed(zlib.decompress(content), chance))
                except zlib.error:
                    content = changed(content, chance)
                chunks[number] = kind, content
            case 1 if kind == b"IHDR" and len(content) >= 13:
                sides = struct.pack(">II", *(chance.choice((1, 12, 17, 300, 8192, 32768, 2**31 - 1)) for _ in range(2)))
                rest = bytes(
                    (chance.choice((1, 2, 4, 8, 16)), chance.choice((0, 2, 3, 4, 6)), 0, 0, chance.randrange(2))
                )
                chunks[number] = kind, chance.choice((sides + content[8:], content[:8] + rest, sides + rest))
            case 2:
                del chunks[number]
            case 3:
                chunks.insert(chance.randrange(len(chunks) + 1), chunks[number])
            case 4:
                chunks[number] = chance.choice(kinds), content
            case 5:
                new = chance.choice(
                    (b"", b"x\0", b"a" * 80 + b"\0\0" + zlib.compress(bytes(2**20)), chance.randbytes(40))
                )
                chunks.insert(chance.randrange(len(chunks) + 1), (chance.choice(kinds), new))
            case _:
                chunks[number] = kind, changed(content, chance)
    return data[:8] + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def use_png(path: Path) -> None:
    """As a frame, and as masks."""
    (folder := path.parent / "png" / "v").mkdir(parents=True, exist_ok=True)
    (folder / "0.png").write_bytes(path.read_bytes())
    try:
        list(import_annotations(folder.parent))
    except DatasetError:
        read_rgb(path)


def zip_files(folder: Path) -> list[Path]:
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(folder / f"{compression}.zip", "w", compression) as archive:
            for name in ("dog/0/00000", "dog/0/00005", "dog/1/00000", "dog/1/00005"):
                archive.writestr(f"Annotations/{name}.png", png(name.endswith("5")))
    return sorted(folder.iterdir())


def png(white: bool) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((12, 17), 255 * white, np.uint8)).save(file, "PNG")
    return file.getvalue()


def change_zip(path: Path, chance: random.Random) -> bytes:
    data = path.read_bytes()
    kind = chance.random()
    if kind < 0.3:
        return changed(data, chance)
    if kind < 0.5:  # the table of contents only
        at = data.index(b"PK\x01\x02")
        return data[:at] + changed(data[at:], chance)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.infolist()]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for entry, content in entries:
            if chance.random() < 0.5:
                content = changed_png(content, chance)
            if chance.random() < 0.2:
                entry.filename = chance.choice(
                    (
                        *TEXTS[1:],
                        entry.filename.replace("dog", "9" * 5000),
                        entry.filename.replace("0", ".."),
                        "/x/1/2/3.png",
                    )
                )
            if chance.random() < 0.1:
                entry.external_attr = chance.choice(VALUES) % 2**32
                entry.compress_type = chance.choice((0, 8, 12, 14))
            with suppress(ValueError, struct.error):  # what a zip file cannot hold
                archive.writestr(entry, content)
    done = out.getvalue()
    return changed(done, chance) if chance.random() < 0.2 else done
