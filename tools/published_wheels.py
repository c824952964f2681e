"""Wheels as they are published, under names that nobody else has on an index (docs/adr/0010-names-on-an-index.md).

    uv run python tools/published_wheels.py dist/published
    uv run python tools/published_wheels.py dist/published packages/soc packages/rvos_layers

They are built as ever, then renamed. Requirements on other packages of the workspace become exact versions of their
published names. All wheels get the authors, classifiers and licence files of the root's `pyproject.toml`.
"""

import argparse
import base64
import csv
import hashlib
import io
import subprocess
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from program_kit.distributions import published_name

ROOT = Path(__file__).parents[1]
COMMON = ("Metadata-Version", "Author", "Author-email", "Classifier", "License-File")  # fields that are replaced


def project(folder: Path) -> dict:
    """The `[project]` table of a folder."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def versions() -> dict[str, str]:
    """The versions of all packages of the workspace, by name."""
    found = (project(path.parent) for path in ROOT.glob("packages/*/pyproject.toml"))
    return {canonicalize_name(one["name"]): one["version"] for one in found}


def build(member: Path, folder: Path) -> Path:
    """The wheel of a package, as the workspace builds it."""
    command = ["uv", "build", "--wheel", "--quiet", "--out-dir", str(folder / member.name), str(member)]
    subprocess.run(command, check=True, cwd=ROOT)
    (wheel,) = (folder / member.name).glob("*.whl")
    return wheel


def publish(wheel: Path, out: Path, ours: Mapping[str, str]) -> Path:
    """Write a wheel under its published name.

    Args:
        wheel: as it was built.
        out: folder to write to.
        ours: versions of the packages of the workspace, by name.

    Raises:
        ExceptionGroup: the metadata is not valid.
    """
    own, version, tags = wheel.name.split("-", 2)
    new = published_name(canonicalize_name(own)).replace("-", "_")
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{new}-{version}-{tags}"
    about = f"{new}-{version}.dist-info"
    with ZipFile(wheel) as source, ZipFile(target, "w", ZIP_DEFLATED) as archive:
        record: list[tuple[str, str, int | str]] = []

        def add(info: ZipInfo, data: bytes) -> None:
            archive.writestr(info, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record.append((info.filename, f"sha256={digest}", len(data)))

        for old in source.infolist():
            if old.filename.endswith((".dist-info/RECORD", "/")):
                continue
            info, data = copy(old), source.read(old)
            for kind in ("dist-info", "data"):
                if info.filename.startswith(f"{own}-{version}.{kind}/"):
                    info.filename = info.filename.replace(own, new, 1)
            if info.filename == f"{about}/METADATA":
                data = metadata(data.decode(), ours).encode()
            add(info, data)
        for name in project(ROOT)["license-files"]:
            add(_new(f"{about}/licenses/{name}"), (ROOT / name).read_bytes())
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*record, (f"{about}/RECORD", "", "")])
        archive.writestr(_new(f"{about}/RECORD"), text.getvalue())
    return target


def _new(name: str) -> ZipInfo:
    """A file that is added to a wheel; without the time of today, so that equal wheels have equal bytes."""
    info = ZipInfo(name)
    info.compress_type, info.external_attr = ZIP_DEFLATED, 0o644 << 16
    return info


def metadata(text: str, ours: Mapping[str, str]) -> str:
    """The metadata of a wheel with published names and with what all wheels share."""
    head, _, description = text.replace("\r\n", "\n").partition("\n\n")
    common = project(ROOT)
    lines = ["Metadata-Version: 2.4"]
    for line in head.splitlines():
        field, _, value = line.partition(": ")
        if field == "Name":
            line = f"Name: {published_name(canonicalize_name(value))}"
        elif field == "Requires-Dist":
            line = f"Requires-Dist: {requirement(value, ours)}"
        if field not in COMMON:
            lines.append(line)
    lines += [f"Author: {author['name']}" for author in common["authors"]]
    lines += [f"Classifier: {classifier}" for classifier in common["classifiers"]]
    lines += [f"License-File: {name}" for name in common["license-files"]]
    changed = "\n".join(lines) + "\n\n" + description
    Metadata.from_email(changed, validate=True)
    return changed


def requirement(text: str, ours: Mapping[str, str]) -> str:
    """A requirement with the published name and exact version, if it is a package of the workspace."""
    wanted = Requirement(text)
    version = ours.get(canonicalize_name(wanted.name))
    if version is None:
        return text
    wanted.name, wanted.specifier = published_name(canonicalize_name(wanted.name)), SpecifierSet(f"=={version}")
    return str(wanted)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("packages", type=Path, nargs="*", help="folders; all by default")
    options = parser.parse_args(arguments)
    members = options.packages or sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
    ours = versions()
    with tempfile.TemporaryDirectory() as folder:
        for member in members:
            print(publish(build(member, Path(folder)), options.out, ours), flush=True)


if __name__ == "__main__":
    main()
