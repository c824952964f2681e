"""Mask tracks: a program's masks of one expression in every frame of a video.

Legend: T frames, H x W pixels of the video, h x w of reduced-size soft masks.
"""

from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mask_interchange.errors import MaskError
from mask_interchange.names import check_name, file_key
from mask_interchange.rle import (
    RunLengths,
    Size,
    check_masks,
    check_runs,
    check_size,
    counts_to_runs,
    decode_runs,
    encode_mask,
    encode_runs,
    paint,
)

# In float32, sigmoid(x) first exceeds 0.5 above this x: up to it 1 + exp(-x) rounds to 2 and the quotient to 0.5.
SIGMOID_HALF = np.float32(1.5 * 2**-24)


def binary_from_logits(logits: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Foreground of mask logits: `sigmoid(x) > 0.5` evaluated in float32, which is false up to x = 8.94e-8.

    Source: the published fusion binarises this way (RobertLuo1/iccv2023_RVOS_Challenge, soc_test/test_swap_1.py).
    """
    return logits > SIGMOID_HALF


def binary_from_probabilities(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Foreground of probabilities: `p > 0.5`."""
    return probabilities > np.float32(0.5)


def support_from_probabilities(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels whose probability is not numerically zero: float32 `sigmoid(p) > 0.5` (see `MaskTrack.support`)."""
    return probabilities > SIGMOID_HALF


def soft_size(size: Size, longest: int) -> Size:
    """Size (h, w) of the soft masks of frames of `size` whose longer side is at most `longest` pixels."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def soft_from_probabilities(probabilities: Iterable[NDArray[np.float32]], longest: int) -> NDArray[np.uint8]:
    """Soft masks uint8 [T, h, w] of probabilities float32 [H, W] per frame.

    Args:
        probabilities: one map per frame, values 0 to 1.
        longest: length of the longer side afterwards, in pixels; maps that are smaller keep their size.
    """
    from PIL import Image

    def reduce(frame: NDArray[np.float32]) -> NDArray[np.uint8]:
        height, width = soft_size((frame.shape[0], frame.shape[1]), longest)
        small = Image.fromarray(frame.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
        return np.rint(np.clip(np.asarray(small), 0, 1) * 255).astype(np.uint8)

    return np.stack([reduce(frame) for frame in probabilities])


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """What to segment.

    Attributes:
        id: the expression's name in its video, as in the data set.
        text: the expression, unchanged; None for masks without one.
        group: id of the object that it describes, when the data set gives one.
    """

    id: str
    text: str | None = None
    group: str | None = None

    def __post_init__(self):
        check_name("expression", self.id)
        for name, value in (("text", self.text), ("group", self.group)):
            if value is None:
                continue
            if not isinstance(value, str):
                raise MaskError(f"expression {self.id!r}: expected {name} as text, found {type(value).__name__}")
            if not value.strip():
                raise MaskError(f"expression {self.id!r}: expected {name} with words in it, found an empty one")
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise MaskError(
                    f"expression {self.id!r}: {name} is not valid Unicode at position {error.start}"
                ) from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskTrack:
    """The masks of one expression in every frame of a video.

    Attributes:
        expression: whose masks they are.
        size: (H, W) of every mask.
        masks: T compressed COCO run-length strings; a frame without the object has an explicit empty mask.
        scores: float32 [T], finite, larger is better (for the published models probabilities); None when the producer
            gave none.
        key_frame: the frame to propagate from; None when the producer gave none.
        support: T strings like `masks`: pixels whose stored probability p satisfies float32 `sigmoid(p) > 0.5`, that
            is p is not numerically zero. Only producers that store probabilities (UNINEXT) write it; it exists to
            reproduce the published vote on an unpaired expression, which takes the sigmoid of a probability.
        soft: uint8 [T, h, w], probabilities times 255 rounded, at a reduced size with h <= H and w <= W, for soft
            voting and heat maps. A read-only array is taken as it is, any other is copied.
        encoded_from: run lengths that `masks` are known to encode (`from_runs`, `runs` of a track with the same masks),
            so that they are not decoded again.
        keep_runs: keep the run lengths that checking `masks` decodes, for work that will ask for `runs`.

    Raises:
        MaskError: an attribute breaks its rule.
    """

    expression: Expression
    size: Size
    masks: tuple[bytes, ...]
    scores: NDArray[np.float32] | None = None
    key_frame: int | None = None
    support: tuple[bytes, ...] | None = None
    soft: NDArray[np.uint8] | None = None
    _runs: RunLengths | None = field(init=False, repr=False)
    encoded_from: InitVar[RunLengths | None] = None
    keep_runs: InitVar[bool] = False

    def __post_init__(self, encoded_from: RunLengths | None, keep_runs: bool):
        try:
            object.__setattr__(self, "size", check_size(self.size))
            object.__setattr__(self, "masks", tuple(self.masks))
            if not self.masks:
                raise MaskError("expected at least one frame, found none")
            if encoded_from is None:
                encoded_from = _check_masks("masks", self.masks, self.size, keep_runs)
            object.__setattr__(self, "_runs", encoded_from)
            self._check_scores()
            self._check_support()
            self._check_soft()
        except MaskError as error:
            raise MaskError(f"expression {self.expression.id!r}: {error}") from error

    def _check_scores(self) -> None:
        if self.scores is not None:
            scores = np.array(self.scores, np.float32)
            if scores.shape != (len(self),) or not np.isfinite(scores).all():
                raise MaskError(f"scores: expected {len(self)} finite numbers, found {_describe(scores)}")
            object.__setattr__(self, "scores", _frozen(scores))
        key_frame = self.key_frame
        if key_frame is not None:
            if not isinstance(key_frame, int | np.integer) or not 0 <= key_frame < len(self):
                raise MaskError(f"key_frame: expected a frame from 0 to {len(self) - 1}, found {key_frame!r}")
            object.__setattr__(self, "key_frame", int(key_frame))

    def _check_support(self) -> None:
        if self.support is None:
            return
        object.__setattr__(self, "support", tuple(self.support))
        if len(self.support) != len(self):
            raise MaskError(f"support: expected {len(self)} masks, found {len(self.support)}")
        _check_masks("support", self.support, self.size)

    def _check_soft(self) -> None:
        if self.soft is None:
            return
        soft = np.asarray(self.soft)
        fits = soft.ndim == 3 and len(soft) == len(self) and 0 not in soft.shape
        if not fits or soft.dtype != np.uint8 or soft.shape[1] > self.size[0] or soft.shape[2] > self.size[1]:
            raise MaskError(
                f"soft: expected uint8 [{len(self)}, 1..{self.size[0]}, 1..{self.size[1]}], "
                f"found {soft.dtype} {list(soft.shape)}"
            )
        object.__setattr__(self, "soft", _frozen(soft.copy()) if soft.flags.writeable else soft)

    @classmethod
    def from_masks(
        cls,
        expression: Expression,
        masks: Iterable[NDArray[np.bool_]],
        *,
        scores: ArrayLike | None = None,
        key_frame: int | None = None,
        support: Iterable[NDArray[np.bool_]] | None = None,
        soft: NDArray[np.uint8] | None = None,
    ) -> Self:
        """Make a track of binary masks.

        Args:
            expression: whom the masks belong to.
            masks: bool [H, W] per frame, or one bool [T, H, W]; consumed frame by frame.
            scores: one number per frame.
            key_frame: by default the first frame with the largest score; None when there are no scores either.
            support: as `masks`, see the class.
            soft: uint8 [T, h, w], see `soft_from_probabilities`.
        """
        size: Size | None = None
        encoded: list[bytes] = []
        for t, mask in enumerate(masks):
            if size is None:
                size = check_size(mask.shape)
            if mask.shape != size:
                raise MaskError(
                    f"expression {expression.id!r}: expected every mask {size[0]}x{size[1]}, "
                    f"found {mask.shape} in frame {t}"
                )
            encoded.append(encode_mask(mask))
        if size is None:
            raise MaskError(f"expression {expression.id!r}: expected at least one frame, found none")
        return cls(
            expression=expression,
            size=size,
            masks=tuple(encoded),
            scores=None if scores is None else np.asarray(scores, np.float32),
            key_frame=_first_best(scores) if key_frame is None else key_frame,
            support=None if support is None else tuple(encode_mask(mask) for mask in support),
            soft=soft,
        )

    @classmethod
    def from_runs(
        cls,
        expression: Expression,
        runs: RunLengths,
        size: Size,
        *,
        scores: ArrayLike | None = None,
        key_frame: int | None = None,
    ) -> Self:
        """Make a track of run lengths, one mask for each of `runs`; the rest is as in `from_masks`."""
        return cls(
            expression=expression,
            size=size,
            masks=encode_runs(runs),
            encoded_from=check_runs(runs, check_size(size)),
            scores=None if scores is None else np.asarray(scores, np.float32),
            key_frame=_first_best(scores) if key_frame is None else key_frame,
        )

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def runs(self) -> RunLengths:
        """The run lengths of `masks`, for work that need not see pixels; decoded once, when first asked for.

        They take 8 bytes a run, many times what the strings take.
        """
        if self._runs is None:
            object.__setattr__(self, "_runs", decode_runs(self.masks))
        assert self._runs is not None
        return self._runs

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MaskTrack):
            return NotImplemented
        return (
            (self.expression, self.size, self.masks, self.key_frame, self.support)
            == (other.expression, other.size, other.masks, other.key_frame, other.support)
            and _same(self.scores, other.scores)
            and _same(self.soft, other.soft)
        )

    def __hash__(self) -> int:
        return hash((self.expression, self.size, self.masks, self.key_frame))

    def mask(self, i: int) -> NDArray[np.bool_]:
        """The mask bool [H, W] of frame `i`."""
        return paint(counts_to_runs(self.masks[i]) if self._runs is None else self._runs.frame(i), self.size)

    def stack(self) -> NDArray[np.bool_]:
        """All masks as bool [T, H, W]: a byte per pixel of the whole video, so only for short ones."""
        return np.stack([self.mask(i) for i in range(len(self))])


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoMasks:
    """Everything one producer says about one video; the content of a `.masks` file.

    Attributes:
        video: the video's id.
        size: (H, W) of the video and of every mask.
        frame_names: T unique names, in order.
        tracks: one per expression, in the data set's order; every one has T masks of `size`.
    """

    video: str
    size: Size
    frame_names: tuple[str, ...]
    tracks: tuple[MaskTrack, ...]
    _by_id: dict[str, MaskTrack] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        check_name("video", self.video)
        try:
            object.__setattr__(self, "size", check_size(self.size))
            object.__setattr__(self, "frame_names", tuple(self.frame_names))
            object.__setattr__(self, "tracks", tuple(self.tracks))
            check_unique("frame", self.frame_names)
            check_unique("expression", self.expression_ids)
            for track in self.tracks:
                self._check_track(track)
            object.__setattr__(self, "_by_id", {track.expression.id: track for track in self.tracks})
        except MaskError as error:
            raise MaskError(f"video {self.video!r}: {error}") from error

    def _check_track(self, track: MaskTrack) -> None:
        if track.size != self.size:
            raise MaskError(
                f"expression {track.expression.id!r}: expected masks of {self.size[0]}x{self.size[1]}, "
                f"found {track.size[0]}x{track.size[1]}"
            )
        if len(track) != len(self.frame_names):
            raise MaskError(
                f"expression {track.expression.id!r}: expected {len(self.frame_names)} masks, found {len(track)}"
            )

    @property
    def expression_ids(self) -> tuple[str, ...]:
        """Ids of the expressions, in order."""
        return tuple(track.expression.id for track in self.tracks)

    def track(self, expression_id: str) -> MaskTrack:
        """The track of an expression.

        Raises:
            MaskError: there is none; lists the ids that are there.
        """
        if expression_id in self._by_id:
            return self._by_id[expression_id]
        known = ", ".join(self.expression_ids)
        raise MaskError(f"video {self.video!r}: no expression {expression_id!r}, only {known or 'an empty list'}")


def check_unique(kind: str, names: tuple[str, ...]) -> None:
    """Raise MaskError unless a video's frame or expression names are sound and unique; at least one frame is needed."""
    if kind == "frame" and not names:
        raise MaskError("expected at least one frame, found none")
    seen: dict[str, str] = {}
    for name in names:
        check_name(kind, name)
        if twin := seen.get(file_key(name)):
            also = "again" if twin == name else f"and {twin!r}, which are one file name on some systems"
            raise MaskError(f"expected every {kind} id once, found {name!r} {also}")
        seen[file_key(name)] = name


def _check_masks(name: str, masks: tuple[bytes, ...], size: Size, keep: bool = False) -> RunLengths | None:
    """Check strings; their run lengths if asked to keep them."""
    try:
        return decode_runs(masks, size) if keep else check_masks(masks, size)
    except MaskError as error:
        raise MaskError(f"{name}: {error}") from error


def _first_best(scores: ArrayLike | None) -> int | None:
    return None if scores is None else int(np.argmax(np.asarray(scores, np.float32)))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return (a is None) == (b is None) and (a is None or b is None or np.array_equal(a, b))


def _describe(array: np.ndarray) -> str:
    if array.ndim == 1 and not np.isfinite(array).all():
        return f"{array[~np.isfinite(array)][0]} at {int(np.argmax(~np.isfinite(array)))}"
    return f"shape {list(array.shape)}"
