"""Which frames make a clip: consecutive ones as SOC takes them, or any that are equally far apart."""

import numpy as np


def clip_windows(frames: int, length: int) -> list[tuple[int, ...]]:
    """Cut a video into consecutive clips, as `datasets/refer_youtube_vos/refer_youtube_vos_dataset.py` of SOC.

    Args:
        frames: of the video, at least 1.
        length: of a clip.

    Returns:
        frame indices of each clip. Where the last clip would be too short it is the last `length` frames of the video
        instead, so it overlaps the one before; a video shorter than a clip repeats its last frame.
    """
    if frames < length:
        return [(*range(frames), *[frames - 1] * (length - frames))]
    starts = [*range(0, frames - length + 1, length)]
    if frames % length:
        starts.append(frames - length)
    return [tuple(range(start, start + length)) for start in starts]


def any_window(frames: int, length: int, longest_step: int, random: np.random.Generator) -> list[int]:
    """Indices of `length` frames in order and equally far apart, drawn from `random`.

    Args:
        frames: of the video, at least 1.
        length: of the clip.
        longest_step: most frames from one to the next.
        random: decides on step and start.

    Returns:
        frame indices; a video shorter than a clip repeats its last frame.
    """
    most = min(longest_step, (frames - 1) // (length - 1)) if length > 1 else 1
    step = int(random.integers(1, max(most, 1) + 1))
    first = int(random.integers(max(frames - step * (length - 1), 1)))
    return [min(first + step * i, frames - 1) for i in range(length)]
