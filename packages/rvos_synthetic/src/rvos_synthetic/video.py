"""One drawn video: its frames, its masks and its sentences, all from the name of a split and an index."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rvos_synthetic.dice import Dice
from rvos_synthetic.drawing import draw, draw_labels, full_area
from rvos_synthetic.errors import SyntheticError
from rvos_synthetic.grammar import ReferringExpression, describe
from rvos_synthetic.scene import Scene, compose
from rvos_synthetic.units import UNIT, frame_time

EDITION = 1  # raised by every change after which a seed draws something else
SPLITS = ("train", "valid", "test")
SPLIT_LENGTH = 10**9

DEFAULT_SIZE = (96, 160)
DEFAULT_FRAMES = 12
SIDES = (32, 2160)
MOST_FRAMES = 1000

TRIAL_HEIGHT, TRIAL_FRAMES = 48, 12
SEEN_PERCENT = 40  # of an object's pixels, for it to count as seen on a frame
SEEN_FRAMES = 5  # of the trial frames


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SyntheticVideo:
    """A drawn video.

    Attributes:
        name: `<split>_<index>`, safe as a part of a path.
        frame_names: 00000, 00005, ... as in Ref-YouTube-VOS, which annotates every fifth frame.
        frames: RGB uint8 [T, H, W, 3].
        labels: which object every pixel shows, uint8 [T, H, W]; 0 is the background.
        expressions: sentences in the order of the objects' labels 1, 2, ...
        scene: what is in it; the same at every size of equal proportions and every number of frames.
    """

    name: str
    frame_names: tuple[str, ...]
    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    expressions: tuple[ReferringExpression, ...]
    scene: Scene

    @property
    def visible(self) -> NDArray[np.bool_]:
        """On which frames any pixel of an object is seen: bool [N, T], object k + 1 in row k."""
        return visibility(self.labels, len(self.scene.objects))


def visibility(labels: NDArray[np.uint8], objects: int) -> NDArray[np.bool_]:
    """On which frames any pixel of each object is seen: bool [objects, T], for labels [T, H, W]."""
    return np.array([(labels == label).any(axis=(1, 2)) for label in range(1, objects + 1)])


def draw_video(
    split: str, index: int, *, size: tuple[int, int] = DEFAULT_SIZE, frames: int = DEFAULT_FRAMES
) -> SyntheticVideo:
    """Draw one video; equal arguments draw equal videos everywhere.

    Args:
        split: train, valid or test. Splits share no seed.
        index: which video of the split, from 0 to SPLIT_LENGTH - 1.
        size: (H, W) in pixels, from 32 to 2160 each, the width between half of and four times the height.
        frames: how many; more of them show the same scene in smaller steps.

    Raises:
        SyntheticError: an argument is out of range.
    """
    scene, expressions = plan_video(split, index, size)
    frame_names = names_of_frames(frames)
    pixels, labels = draw(scene, size, frames)
    return SyntheticVideo(
        name=name_of_video(split, index),
        frame_names=frame_names,
        frames=pixels,
        labels=labels,
        expressions=expressions,
        scene=scene,
    )


def name_of_video(split: str, index: int) -> str:
    """The name of a video in files."""
    return f"{split}_{index:06d}"


def names_of_frames(frames: int) -> tuple[str, ...]:
    """The names of a video's frames.

    Raises:
        SyntheticError: not a possible number of frames.
    """
    if not 1 <= frames <= MOST_FRAMES:
        raise SyntheticError(f"frames: expected 1 to {MOST_FRAMES} of them, found {frames}")
    return tuple(f"{5 * t:05d}" for t in range(frames))


def plan_video(
    split: str, index: int, size: tuple[int, int] = DEFAULT_SIZE
) -> tuple[Scene, tuple[ReferringExpression, ...]]:
    """What `draw_video` draws, and the sentences, without drawing it.

    Scenes are composed until there is one in which every object can be told from the others by sentences and is seen
    for a good part of the video.

    Raises:
        SyntheticError: as `draw_video`.
    """
    seed = seed_of(split, index)
    check_size(size)
    width = size[1] * UNIT // size[0]
    attempt = 0
    while True:
        dice = Dice(seed, attempt)
        scene = compose(dice, width)
        expressions = describe(scene, dice)
        if expressions is not None and _shows_all(scene):
            return scene, expressions
        attempt += 1


def seed_of(split: str, index: int) -> int:
    """The seed of a video: every split has a range of its own.

    Raises:
        SyntheticError: no such split, or an index outside of its range.
    """
    if split not in SPLITS:
        raise SyntheticError(f"split: expected {', '.join(SPLITS)}, found {split!r}")
    if not 0 <= index < SPLIT_LENGTH:
        raise SyntheticError(f"video: expected an index from 0 to {SPLIT_LENGTH - 1}, found {index}")
    return SPLITS.index(split) * SPLIT_LENGTH + index


def check_size(size: tuple[int, int]) -> None:
    """Raise SyntheticError unless (H, W) is a size that videos can be drawn in."""
    height, width = size
    shortest, longest = SIDES
    if not (shortest <= height <= longest and shortest <= width <= longest):
        raise SyntheticError(f"size: expected {shortest} to {longest} pixels either way, found {height}x{width}")
    if not height <= 2 * width <= 8 * height:
        raise SyntheticError(f"size: expected a width of half to four times the height, found {height}x{width}")


def _shows_all(scene: Scene) -> bool:
    """Whether every object is seen on enough frames, tried on a small drawing."""
    labels = draw_labels(scene, (TRIAL_HEIGHT, scene.width * TRIAL_HEIGHT // UNIT), TRIAL_FRAMES)
    for item in scene.objects:
        areas = np.count_nonzero(labels == item.label, axis=(1, 2))
        whole = [full_area(item, frame_time(t, TRIAL_FRAMES), TRIAL_HEIGHT) for t in range(TRIAL_FRAMES)]
        if np.count_nonzero(100 * areas >= SEEN_PERCENT * np.array(whole)) < SEEN_FRAMES:
            return False
    return True
