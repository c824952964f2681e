"""A run with masks of all kinds, exported by the command."""

import numpy as np
import pytest
from mask_interchange import Expression, MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset

from tests.drawn import FRAMES, SIZE, draw_dataset
from tests.programs import programs

TEXTS = {
    "0": 'a "red" square & more',
    "1": "der größte Ring, <links>",
    "2": "the square: 1",
    "3": "a red dot",
    "4": "it",
}
TEXTS["5"] = TEXTS["2"]  # two objects of one sentence


def drawn_masks(shift: int) -> dict[str, np.ndarray]:
    """Masks of one frame, by expression: a hole, two parts, none, a dot, parts that touch at a corner."""
    masks = {name: np.zeros(SIZE, bool) for name in TEXTS}
    masks["0"][5:25, 4 + shift : 30 + shift] = True
    masks["0"][10:20, 10 + shift : 20 + shift] = False
    masks["1"][2:12, 40:50] = masks["1"][30:44, 50:64] = True
    masks["2"][20:40, shift : 20 + shift] = shift != 9
    masks["3"][44, 63] = True
    masks["5"][30:35, 30:35] = masks["5"][35:40, 35:40] = True
    return masks


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> MaskRun:
    """Two videos whose frames have equal names."""
    root = tmp_path_factory.mktemp("made")
    dataset = open_dataset(draw_dataset(root / "data"))
    made = MaskRun.create(root / "run", RunManifest(producer="x", producer_version="1", dataset=dataset.identity))
    for number, video in enumerate(dataset.videos):
        frames = [drawn_masks(9 * t + number) for t in range(len(FRAMES))]
        tracks = [
            MaskTrack.from_masks(
                Expression(id=name, text=text), np.stack([masks[name] for masks in frames]), scores=[0.5, 0.25, 0.75]
            )
            for name, text in TEXTS.items()
        ]
        made.write(VideoMasks(video=video, size=SIZE, frame_names=tuple(FRAMES), tracks=tuple(tracks)))
    return made


@pytest.fixture(scope="session")
def exported(run, tmp_path_factory):
    """The folder that `fusion-core export` has filled."""
    out = tmp_path_factory.mktemp("exported") / "out"
    (fusion_core,) = programs("fusion-core")
    arguments = ["--format", "coco,youtube-vis,images,yolo,pascal", "--dataset", run.path.parent / "data", "--out", out]
    result = fusion_core.run("export", run.path, *arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return out
