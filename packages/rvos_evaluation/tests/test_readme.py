"""The README's code runs as it stands."""

from pathlib import Path

import numpy as np
from golden_cases.readme import run_readme
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks
from PIL import Image

README = Path(__file__).parents[1] / "README.md"


def test_the_code_runs(tmp_path, capsys):
    mask = np.zeros((8, 10), bool)
    mask[2:6, 3:7] = True
    manifest = RunManifest(
        producer="test", producer_version="1", dataset={"name": "test", "split": None, "fingerprint": None}
    )
    track = MaskTrack.from_masks(Expression(id="0"), [mask])
    masks = VideoMasks(video="dog", size=mask.shape, frame_names=("00000",), tracks=(track,))
    MaskRun.create(tmp_path / "runs" / "soc", manifest).write(masks)
    for expression in "01":
        file = tmp_path / "valid" / "Annotations" / "dog" / expression / "00000.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(mask.astype(np.uint8) * 255).save(file)
    run_readme(README, tmp_path)
    assert capsys.readouterr().out == "J&F 50.0\nvideo dog, expression 1\n"
