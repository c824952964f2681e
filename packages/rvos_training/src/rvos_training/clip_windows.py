"""Which frames make a clip.

Source: `datasets/refer_youtube_vos/refer_youtube_vos_dataset.py` of SOC.
"""


def clip_windows(frames: int, length: int) -> list[tuple[int, ...]]:
    """Cut a video into consecutive clips.

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
