"""The commands of docs/published_masks.md, run on a small set in the layout of the published masks."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from mask_interchange import MaskRun
from PIL import Image

from tests.drawn import FRAMES, SENTENCES, SIZE, draw_dataset
from tests.programs import programs

PAGE = Path(__file__).parents[2] / "docs" / "published_masks.md"
PROPAGATED = {
    "soc": ("AOT",),
    "mutr": ("AOT",),
    "referformer_ft": ("AOT", "DEAOT"),
    "vit-huge": ("DEAOT",),
    "convnext": ("DEAOT",),
    "soc_mutr_referft": ("AOT",),
    "vit_convnext_soc": ("DEAOT",),
}
SUBMISSION = Path("second_ensemble", "vit_convnext_soc_deaot_vitdeaot_en2_referftdeaot", "Annotations")


def commands():
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.split(" #")[0] for block in blocks for line in block.splitlines()]
    return [shlex.split(line.removeprefix("uv run fusion-core ")) for line in lines]


def dataset(root):
    """The drawn data set as the split `test` of Ref-YouTube-VOS."""
    draw_dataset(root)
    (root / "meta_expressions" / "test").mkdir(parents=True)
    (root / "meta_expressions.json").rename(root / "meta_expressions" / "test" / "meta_expressions.json")
    (root / "test").mkdir()
    (root / "JPEGImages").rename(root / "test" / "JPEGImages")
    return [path.name for path in sorted((root / "test" / "JPEGImages").iterdir())]


def picture(mask, palette):
    """A mask as grey 0 and 255, or as class index 1 with DAVIS's colours."""
    if not palette:
        return Image.fromarray(mask * np.uint8(255))
    image = Image.fromarray(mask.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    return image


def write_sets(folder, videos, palette):
    """All published sets, each a box at places of its own."""
    rng = np.random.default_rng(0)
    for name, propagators in PROPAGATED.items():
        for masks in ("Annotations", *(f"Annotations_{propagator}_class_index" for propagator in propagators)):
            for video in videos:
                for expression in SENTENCES:
                    place = folder / "test" / name / masks / video / expression
                    place.mkdir(parents=True)
                    for frame in FRAMES:
                        mask = np.zeros(SIZE, bool)
                        row, column = rng.integers(6, size=2)
                        mask[row : row + 20, column : column + 30] = True
                        picture(mask, palette and masks != "Annotations").save(place / f"{frame}.png")
        keys = {video: {key: {"index_info": {"class_index": 1}} for key in SENTENCES} for video in videos}
        (folder / "test" / name / "key_frame.json").write_text(json.dumps(keys))


@pytest.mark.parametrize("palette", [False, True], ids=["grey", "palette"])
def test_every_command_of_the_page(tmp_path, palette):
    videos = dataset(tmp_path / "ROOT")
    write_sets(tmp_path, videos, palette)
    fusion = programs("fusion-core")[0]

    def run(*arguments):
        result = fusion.run(*arguments, cwd=tmp_path)
        assert result.returncode == 0, f"{arguments}:\n{result.stdout}{result.stderr}"
        return result.stdout

    *steps, compare = commands()
    assert [step[0] for step in steps] == ["import"] * 8 + ["fuse", "submit", "check-submission", "report"]
    for step in steps:
        run(*step)
    assert "0 faults, 0 warnings" in run(*steps[-2])
    assert (tmp_path / "report.html").stat().st_size > 0

    run_ = MaskRun.open(tmp_path / "runs" / "final")
    assert [member["name"] for member in run_.manifest.settings["members"]] == [
        "vit_convnext_soc_deaot",
        "vit_huge_deaot",
        "en2",
        "referformer_deaot",
    ]
    shutil.unpack_archive(tmp_path / "submission.zip", tmp_path / SUBMISSION.parent)
    scores = json.loads(run(*compare, "--json"))
    assert scores["overall"]["J&F"] == 1.0
