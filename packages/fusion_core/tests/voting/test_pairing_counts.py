"""How often the published pairing mixes two objects, on the real expressions (docs/recipe.md shows the counts)."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[4] / "tools" / "pairing_counts.py"


@pytest.fixture
def folder():
    root = os.environ.get("RVOS_DATA")
    if not root:
        pytest.skip("RVOS_DATA is not set: no real expressions here")
    return Path(root) / "rvos_meta" / "ref_youtube_vos"


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("pairing_counts", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(
    ("split", "published", "ideal", "by_sentence"),
    [
        ("valid", (414, 8, 6), (412, 0, 10), 9),
        ("test", (624, 16, 14), (621, 0, 20), 19),
    ],
)
def test_counts(folder, tool, split, published, ideal, by_sentence):
    assert tool.published(folder, split) == tool.Counts(*published)
    assert tool.ideal_agreement(folder, split) == tool.Counts(*ideal)
    assert tool.mixed_by_sentence(folder, split) == by_sentence


def test_the_table_in_the_documentation_is_the_tool_s(folder):
    printed = subprocess.run([sys.executable, TOOL, folder], capture_output=True, text=True, check=True).stdout
    documented = (TOOL.parents[1] / "docs" / "recipe.md").read_text()
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(table) == 6
    for row in table:
        assert row in documented
