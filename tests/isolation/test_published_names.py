"""Wheels get the names that they have on an index; here one that the test makes."""

import base64
import hashlib
import importlib.util
import zipfile

import pytest
from packaging.metadata import Metadata

from tests.members import MEMBERS, ROOT, own_name

spec = importlib.util.spec_from_file_location("published_wheels", ROOT / "tools" / "published_wheels.py")
published_wheels = importlib.util.module_from_spec(spec)
spec.loader.exec_module(published_wheels)

METADATA = """Metadata-Version: 2.3
Name: msda-ops
Version: 1.5
Summary: Näher
Author: somebody
License-Expression: Apache-2.0
Requires-Dist: numpy>=1.26
Requires-Dist: program-kit[torch] ; extra == 'more'
Requires-Dist: rvos-layers
Provides-Extra: more

# A heading

Name: of nothing
"""


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "msda_ops-1.5-py3-none-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("msda_ops/__init__.py", "")
        archive.writestr("msda_ops-1.5.data/scripts/tool", "#!python")
        archive.writestr("msda_ops-1.5.dist-info/METADATA", METADATA)
        archive.writestr("msda_ops-1.5.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-linux_x86_64\n")
        archive.writestr("msda_ops-1.5.dist-info/RECORD", "")
    return path


def test_a_wheel_is_renamed_with_all_that_it_says(wheel, tmp_path):
    made = published_wheels.publish(wheel, tmp_path / "out", {"program-kit": "0.3", "rvos-layers": "0.2"})
    assert made.name == "rvos_msda_ops-1.5-py3-none-linux_x86_64.whl"
    with zipfile.ZipFile(made) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    about = "rvos_msda_ops-1.5.dist-info"
    assert set(content) == {
        "msda_ops/__init__.py",
        "rvos_msda_ops-1.5.data/scripts/tool",
        *(f"{about}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE", "licenses/NOTICE")),
    }
    metadata = Metadata.from_email(content[f"{about}/METADATA"], validate=True)
    assert (metadata.name, metadata.summary, metadata.author) == (
        "rvos-msda-ops",
        "Näher",
        "rvos-fusion contributors",
    )
    assert sorted(map(str, metadata.requires_dist)) == [
        "numpy>=1.26",
        "rvos-layers==0.2",
        'rvos-program-kit[torch]==0.3; extra == "more"',
    ]
    assert metadata.description.endswith("Name: of nothing\n")
    recorded = dict(line.split(",")[:2] for line in content[f"{about}/RECORD"].decode().splitlines())
    assert set(recorded) == set(content)
    for name, digest in recorded.items():
        if name != f"{about}/RECORD":
            made_of = base64.urlsafe_b64encode(hashlib.sha256(content[name]).digest()).rstrip(b"=").decode()
            assert digest == f"sha256={made_of}"


def test_metadata_that_no_index_takes_are_refused(tmp_path):
    with pytest.raises(ExceptionGroup, match="invalid"):
        published_wheels.metadata(METADATA.replace("1.5", "one"), {})


def test_no_name_stays_that_of_a_foreign_package():
    names = [published_wheels.published_name(own_name(member)) for member in MEMBERS]
    assert len(set(names)) == len(MEMBERS)
    assert all(name.startswith("rvos-") for name in names)
    assert set(published_wheels.versions()) == {own_name(member) for member in MEMBERS}
