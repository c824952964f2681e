"""How what a run was made of differs from what is wanted now, in words for people."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress

from mask_interchange.dataset import Dataset
from mask_interchange.errors import DatasetError
from mask_interchange.track import VideoMasks
from mask_interchange.video import Video

_MAX_VALUE = 60  # characters of a value that a sentence shows
_SUBJECTS = {"producer": "program", "producer_version": "version", "checkpoint_sha256": "checkpoint"}
_HASH = re.compile("[0-9a-f]{64}")


def difference(then: Mapping[str, object], now: Mapping[str, object], place: str = "") -> str | None:
    """The first value in which two trees of JSON values differ, as in "setting scales: was 3, is 4"; None if none does.

    Args:
        then: the values of a run.
        now: the values that are wanted.
        place: where the two trees stand, for the sentence.
    """
    for key in {**then, **now}:
        if key in then and key in now and then[key] == now[key]:
            continue
        before, after = then.get(key), now.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            return difference(before, after, f"{place}{key}.")
        return _sentence(place, key, before, after)
    return None


def dataset_difference(made: Iterable[VideoMasks], dataset: Dataset) -> str:
    """How the data set that masks were made on differs from another, as far as the masks show it."""
    for masks in made:
        if masks.video not in dataset.videos:
            return f"the videos differ: the run has {masks.video!r}, which is not in {dataset.name}"
        with suppress(DatasetError):  # a faulty video: the next one may show it
            if why := _video_difference(masks, dataset.videos[masks.video]):
                return f"{why} in video {masks.video!r}"
    if len(dataset.videos) == 1:
        return f"the frames differ: {dataset.name} has other pixels"
    return "the data set differs in videos that the run does not have yet"


def _video_difference(masks: VideoMasks, video: Video) -> str | None:
    if masks.frame_names != video.frame_names:
        return f"the frames differ: {_changed(masks.frame_names, video.frame_names)}"
    then = [track.expression for track in masks.tracks]
    texts = [expression.text or "" for expression in then], [expression.text or "" for expression in video.expressions]
    if texts[0] != texts[1]:
        return f"the sentences differ: {_changed(*texts)}"
    if tuple(then) != video.expressions:
        return "the ids or the groups of the sentences differ"
    return None


def _changed(then: "list[str] | tuple[str, ...]", now: "list[str] | tuple[str, ...]") -> str:
    """The first of two lists' items that differ; an empty text stands for one that is not there."""
    for i in range(max(len(then), len(now))):
        before, after = (names[i] if i < len(names) else None for names in (then, now))
        if before != after:
            return f"number {i + 1} {_was(before, after)}"
    raise ValueError("the lists are equal")


def _sentence(place: str, key: str, before: object, after: object) -> str:
    path = f"{place}{_SUBJECTS.get(key, key)}".removeprefix("settings.")
    if path == "dataset.fingerprint":
        return "the data set differs"
    if _is_hash(before) and _is_hash(after):
        return f"the {path.removesuffix('_sha256').removesuffix('.fingerprint')} differs"
    return f"{'setting ' if place == 'settings.' else ''}{path}: {_was(before, after)}"


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _was(before: object, after: object) -> str:
    return f"was {_shown(before)}, is {_shown(after)}"


def _shown(value: object) -> str:
    if value is None:
        return "not given"
    if _is_hash(value):
        return f"{value:.8}..."
    text = str(value)
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}..."
