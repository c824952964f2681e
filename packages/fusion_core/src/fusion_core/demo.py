"""What `fusion-core demo` shows, on data that it draws itself; nothing here is a prediction.

OUT/dataset/           drawn videos with sentences and exact masks
OUT/masks/<model>/     PNG masks in place of five models: the true ones, spoiled in a way of its own for every model
OUT/runs/<run>/        the same as runs, drawn runs in place of the propagations, and the votes
OUT/scores/            scores of the final vote
OUT/submission.zip     the final vote as a submission
OUT/contact_sheet.png  one expression as every member and vote sees it
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from mask_interchange import Dataset, MaskRun, MaskTrack, RunManifest, VideoMasks, open_dataset
from mask_interchange.convert import export_annotations

from fusion_core.annotations import open_annotations
from fusion_core.drawing import draw_dataset
from fusion_core.errors import FusionCoreError
from fusion_core.evaluation import Evaluation, evaluate_run
from fusion_core.recipe import ICCV2023
from fusion_core.spoiling import Failings, spoil

MARKER = "demo.json"  # a folder with this file was made by a demo and may be made anew

STAGE_1, STAGE_2 = (tuple(vote.name for vote in stage) for stage in ICCV2023.stages)
FINAL = STAGE_2[-1]

# Each model fails in its own way. Propagation starts from one good frame: few frames are lost, a mix-up lasts longer.
MODELS = {
    "soc": Failings(roughness=1.6, lost=0.15, confused=0.15),
    "mutr": Failings(roughness=2.2, confused=0.1, leaking=0.4),
    "referformer": Failings(roughness=1.8, lost=0.1, bitten=0.4),
    "vit_huge": Failings(roughness=1.2, confused=0.2, leaking=0.1),
    "convnext": Failings(roughness=1.5, lost=0.2, leaking=0.2),
}
PROPAGATED = {
    name: Failings(roughness=1.2, confused=0.1, bitten=0.1)
    for vote in ICCV2023.stage(2)
    for name in vote.members
    if name not in STAGE_2
}


class DemoError(FusionCoreError):
    """The demo cannot use the folder it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The folder of one demo."""

    root: Path

    @property
    def dataset(self) -> Path:
        """Drawn data set in the flat Ref-YouTube-VOS layout."""
        return self.root / "dataset"

    @property
    def annotations(self) -> Path:
        """Its true masks."""
        return self.dataset / "Annotations"

    @property
    def masks(self) -> Path:
        """Spoiled masks as PNG, one folder per run."""
        return self.root / "masks"

    @property
    def runs(self) -> Path:
        """All runs."""
        return self.root / "runs"


def begin(root: Path, seed: int) -> Place:
    """An empty folder for a demo, with its drawn data set; what an earlier demo left there is removed.

    Raises:
        DemoError: the folder holds anything else.
    """
    if root.exists():
        if not root.is_dir() or (any(root.iterdir()) and not (root / MARKER).is_file()):
            raise DemoError(f"{root} holds files that are not of a demo; give a new or empty folder with --out")
        shutil.rmtree(root)
    root.mkdir(parents=True)
    (root / MARKER).write_text(json.dumps({"seed": seed}))
    place = Place(root=root)
    draw_dataset(place.dataset, seed)
    return place


def draw_runs(place: Place, runs: Mapping[str, Failings], seed: int) -> None:
    """Write runs of spoiled masks."""
    dataset = open_dataset(place.dataset)
    described = {"name": dataset.name, "split": dataset.split, "fingerprint": dataset.fingerprint}
    for number, (name, failings) in enumerate(runs.items()):
        manifest = RunManifest(
            producer="fusion-core demo: drawn, not predicted",
            producer_version=version("fusion-core"),
            settings={"seed": seed, **asdict(failings)},
            dataset=described,
        )
        run = MaskRun.create(place.runs / name, manifest)
        for masks in _spoiled_videos(place, dataset, failings, [seed, number]):
            run.write(masks)


def turn_into_png(place: Place, runs: Iterable[str]) -> None:
    """Replace runs by PNG masks and key frames, as programs outside this project write them."""
    for name in runs:
        export_annotations(MaskRun.open(place.runs / name), place.masks / name)
        shutil.rmtree(place.runs / name)


def _spoiled_videos(place: Place, dataset: Dataset, failings: Failings, seed: list[int]) -> Iterator[VideoMasks]:
    for number, (video, annotation) in enumerate(open_annotations(place.annotations).items()):
        rng = np.random.default_rng([*seed, number])
        frames = list(annotation.frames())
        labels = np.stack([frame.labels for frame in frames])
        tracks = []
        for expression in dataset.videos[video].expressions:
            masks, scores = spoil(labels, int(expression.group or 0), failings, rng)
            tracks.append(MaskTrack.from_masks(expression, masks, scores=scores))
        names = tuple(frame.name for frame in frames)
        yield VideoMasks(video=video, size=labels.shape[1:], frame_names=names, tracks=tuple(tracks))


def score(place: Place, runs: Sequence[str]) -> dict[str, Evaluation]:
    """Scores of some runs against the true masks."""
    annotations = open_annotations(place.annotations)
    return {run: evaluate_run(MaskRun.open(place.runs / run), annotations) for run in runs}


# --- contact sheet --------------------------------------------------------------------------------------------------

COLUMNS = 6
MARGIN = 170  # for the names of the rows, in pixels
TINT = np.array([255, 120, 0])


def contact_sheet(place: Place, scores: dict[str, Evaluation], path: Path) -> str:
    """Draw the expression that the votes help most, as every run sees it; returns its video and sentence."""
    video, expression = _most_helped(scores)
    described = open_dataset(place.dataset).videos[video]
    shown = np.linspace(0, len(described) - 1, COLUMNS).round().astype(int).tolist()
    pictures = [described.read_frame(t) for t in shown]
    target = next(e for e in described.expressions if e.id == expression)
    truth = [frame.labels == int(target.group or 0) for frame in open_annotations(place.annotations)[video].frames()]
    rows = [_row("frame", pictures), _row("true mask", _tinted(pictures, [truth[t] for t in shown]))]
    for run in (*MODELS, *STAGE_1, FINAL):
        masks: VideoMasks = MaskRun.open(place.runs / run).read(video)
        track = masks.track(expression)
        rows.append(_row(run, _tinted(pictures, [track.mask(t) for t in shown])))
    if not cv2.imwrite(str(path), np.vstack(rows)[..., ::-1]):
        raise DemoError(f"{path} cannot be written")
    return f"{video}: {target.text}"


def _most_helped(scores: dict[str, Evaluation]) -> tuple[str, str]:
    """The video and expression with the largest gain of the final vote over the mean of the models."""
    keys = [(video.video, one.target.expression.id) for video in scores[FINAL].videos for one in video.targets]
    j = {run: np.array([one.j.mean() for one in scores[run].targets]) for run in (*MODELS, FINAL)}
    gain = j[FINAL] - np.mean([j[run] for run in MODELS], axis=0)
    return keys[int(gain.argmax())]


def _tinted(
    pictures: Sequence[npt.NDArray[np.uint8]], masks: Sequence[npt.NDArray[np.bool_]]
) -> Iterator[npt.NDArray[np.uint8]]:
    for picture, mask in zip(pictures, masks, strict=True):
        dark = picture * 0.45
        dark[mask] = 0.4 * picture[mask] + 0.6 * TINT
        yield dark.astype(np.uint8)


def _row(name: str, pictures: Iterable[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    small = [cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for picture in pictures]
    label = np.full((small[0].shape[0], MARGIN, 3), 255, np.uint8)
    cv2.putText(label, name, (6, label.shape[0] // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.hstack([label, *small]).astype(np.uint8)
