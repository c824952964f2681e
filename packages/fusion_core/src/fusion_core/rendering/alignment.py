"""Check that masks match a video."""

from mask_interchange import Video, VideoMasks

from fusion_core.errors import MemberError


def matching(masks: VideoMasks, video: Video, run: str) -> VideoMasks:
    """The masks, if they are of the frames of this video.

    Raises:
        MemberError: size, number or names of the frames differ; names the run and both values.
    """
    for what, found, expected in (
        ("frames of", _pixels(masks.size), _pixels(video.size)),
        ("number of frames", len(masks.frame_names), len(video)),
    ):
        if found != expected:
            raise MemberError(f"run {run}: {what} {found}, but the video has {expected}; is it of other data?")
    for t, (found, expected) in enumerate(zip(masks.frame_names, video.frame_names, strict=True)):
        if found != expected:
            raise MemberError(f"run {run}: frame {t} is called {found!r}, but {expected!r} in the video")
    return masks


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]} pixels"
