"""One synthetic video: frames, masks and expressions, all made from the name of a split and an index."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rvos_synthetic.errors import SyntheticError
from rvos_synthetic.grammar import ReferringExpression, describe
from rvos_synthetic.random_stream import RandomStream
from rvos_synthetic.rendering import full_area, render, render_labels
from rvos_synthetic.scene import Scene, compose
from rvos_synthetic.units import UNIT, frame_time

EDITION = 1  # raised by every change after which a seed gives another video
SPLITS = ("train", "valid", "test")
SPLIT_LENGTH = 10**9

DEFAULT_SIZE = (96, 160)
DEFAULT_FRAMES = 12
SIDES = (32, 2160)
MOST_FRAMES = 1000

TRIAL_HEIGHT, TRIAL_FRAMES = 48, 12
SEEN_PERCENT = 40  # of an object's pixels must show for it to count as seen on a frame
SEEN_FRAMES = 5  # of the trial frames on which every object must be seen


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SyntheticVideo:
    """A synthetic video.

    Attributes:
        name: `<split>_<index>`, safe as a part of a path.
        frame_names: 00000, 00005, ... as in Ref-YouTube-VOS, which annotates every fifth frame.
        frames: RGB uint8 [T, H, W, 3].
        labels: label of the object at each pixel, uint8 [T, H, W]; 0 is the background.
        expressions: in the order of the objects' labels 1, 2, ...
        scene: what is in it; the same for every size of equal proportions and every number of frames.
    """

    name: str
    frame_names: tuple[str, ...]
    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    expressions: tuple[ReferringExpression, ...]
    scene: Scene

    @property
    def visible(self) -> NDArray[np.bool_]:
        """Whether any pixel of an object shows on a frame: bool [N, T], the object with label k + 1 in row k."""
        return visibility(self.labels, len(self.scene.objects))


def visibility(labels: NDArray[np.uint8], objects: int) -> NDArray[np.bool_]:
    """Whether any pixel of an object shows on a frame: bool [objects, T], from labels [T, H, W]."""
    return np.array([(labels == label).any(axis=(1, 2)) for label in range(1, objects + 1)])


def render_video(
    split: str, index: int, *, size: tuple[int, int] = DEFAULT_SIZE, frames: int = DEFAULT_FRAMES
) -> SyntheticVideo:
    """Render one video; equal arguments give equal videos on every machine.

    Args:
        split: train, valid or test. Splits share no seed.
        index: number of the video in the split, from 0 to SPLIT_LENGTH - 1.
        size: (H, W) in pixels, from 32 to 2160 each; the width is between half and four times the height.
        frames: how many; more frames show the same scene in smaller steps.

    Raises:
        SyntheticError: an argument is out of range.
    """
    scene, expressions = plan_video(split, index, size)
    frame_names = names_of_frames(frames)
    pixels, labels = render(scene, size, frames)
    return SyntheticVideo(
        name=name_of_video(split, index),
        frame_names=frame_names,
        frames=pixels,
        labels=labels,
        expressions=expressions,
        scene=scene,
    )


def name_of_video(split: str, index: int) -> str:
    """The name of a video's files."""
    return f"{split}_{index:06d}"


def names_of_frames(frames: int) -> tuple[str, ...]:
    """The names of a video's frames.

    Raises:
        SyntheticError: the number is out of range.
    """
    if not 1 <= frames <= MOST_FRAMES:
        raise SyntheticError(f"frames: expected 1 to {MOST_FRAMES} of them, found {frames}")
    return tuple(f"{5 * t:05d}" for t in range(frames))


def plan_video(
    split: str, index: int, size: tuple[int, int] = DEFAULT_SIZE
) -> tuple[Scene, tuple[ReferringExpression, ...]]:
    """The scene and the expressions of `render_video`, without its pixels.

    Scenes are composed until one is found in which expressions can tell every object from the others, and every object
    is seen on enough frames.

    Raises:
        SyntheticError: as `render_video`.
    """
    seed = seed_of(split, index)
    check_size(size)
    width = size[1] * UNIT // size[0]
    attempt = 0
    while True:
        random = RandomStream(seed, attempt)
        scene = compose(random, width)
        expressions = describe(scene, random)
        if expressions is not None and _shows_all(scene):
            return scene, expressions
        attempt += 1


def seed_of(split: str, index: int) -> int:
    """The seed of a video; every split has its own range.

    Raises:
        SyntheticError: no such split, or an index out of range.
    """
    if split not in SPLITS:
        raise SyntheticError(f"split: expected {', '.join(SPLITS)}, found {split!r}")
    if not 0 <= index < SPLIT_LENGTH:
        raise SyntheticError(f"video: expected an index from 0 to {SPLIT_LENGTH - 1}, found {index}")
    return SPLITS.index(split) * SPLIT_LENGTH + index


def check_size(size: tuple[int, int]) -> None:
    """Raise SyntheticError unless (H, W) is a possible size of videos."""
    height, width = size
    shortest, longest = SIDES
    if not (shortest <= height <= longest and shortest <= width <= longest):
        raise SyntheticError(
            f"size: expected {shortest} to {longest} pixels in both directions, found {height}x{width}"
        )
    if not height <= 2 * width <= 8 * height:
        raise SyntheticError(f"size: expected a width of half to four times the height, found {height}x{width}")


def _shows_all(scene: Scene) -> bool:
    """Whether every object is seen on enough frames, tried at a small size."""
    labels = render_labels(scene, (TRIAL_HEIGHT, scene.width * TRIAL_HEIGHT // UNIT), TRIAL_FRAMES)
    for item in scene.objects:
        areas = np.count_nonzero(labels == item.label, axis=(1, 2))
        whole = [full_area(item, frame_time(t, TRIAL_FRAMES), TRIAL_HEIGHT) for t in range(TRIAL_FRAMES)]
        if np.count_nonzero(100 * areas >= SEEN_PERCENT * np.array(whole)) < SEEN_FRAMES:
            return False
    return True
