"""SAM 2 on one frame after the other: features of frames, and sessions that remember a bounded number of them.

The sessions are those of transformers, used through their public parts. They keep everything for every frame; here they
hold no frames, take features from outside, and forget what the network does not read again. None of this changes a
result (tests/test_propagate.py compares with plain calls).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from program_kit.frame_reading import FeatureCache
from program_kit.prepared_frames import EncodedFrames, PreparedFrames
from program_kit.propagator import Frames
from program_kit.torch.precision import ProductPrecision
from program_kit.torch.transfer import constant, to_device
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2.functional import resize
from transformers import (
    Sam2ImageProcessor,
    Sam2VideoInferenceSession,
    Sam2VideoModel,
    Sam2VideoProcessor,
    Sam2VideoVideoProcessor,
)

MEAN, STD = (tuple(255 * value for value in values) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
ENCODING = 24  # masks at full size in float32 that the encoding of one memory takes room for, as measured
OBJECTS_AT_ONCE = 8  # in one session, which encodes their memories as one batch: bounds memory, changes no result


@dataclass(frozen=True, slots=True)
class FrameFeatures:
    """What the image encoder makes of a frame.

    Attributes:
        levels: [h w, 1, C] of the three levels of the pyramid, at strides 4, 8 and 16.
        positions: [h w, 1, C] position embedding of the last level, the same for every frame.
    """

    levels: Sequence[Tensor]
    positions: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of all levels."""
        return sum(level.nbytes for level in self.levels)


def build_processor(network: Sam2VideoModel) -> Sam2VideoProcessor:
    """What brings masks and points to the network's size."""
    side = image_side(network)
    size, mask_size = {"height": side, "width": side}, {"height": side // 4, "width": side // 4}
    image_processor = Sam2ImageProcessor(size=size, mask_size=mask_size)
    return Sam2VideoProcessor(image_processor, Sam2VideoVideoProcessor(size=size), target_size=side)


def image_side(network: Sam2VideoModel) -> int:
    """Side of the square that the network sees, in pixels."""
    side = network.config.image_size
    assert isinstance(side, int)  # so in every published configuration
    return side


def network_image(frame: NDArray[np.uint8], side: int, device: torch.device) -> Tensor:
    """RGB frame uint8 [H, W, 3] to a normalised float32 image [1, 3, side, side], as the library makes it."""
    return normalised(to_device(torch.from_numpy(frame), device), side)


def normalised(frame: Tensor, side: int) -> Tensor:
    """The same of a frame that is on the device already."""
    image = frame.permute(2, 0, 1)[None]
    resized = resize(image, [side, side], InterpolationMode.BILINEAR, antialias=True)
    mean, std = (constant(values, frame.device)[:, None, None] for values in (MEAN, STD))
    return (resized.float() - mean) / std


class FrameEncoder:
    """Encodes the frames of one video, in any order.

    Args:
        network: whose image encoder it is.
        processor: brings masks and points to its size.
        video: the frames.
        products: entered around the network.
        cache_bytes: budget for features of frames that may be needed again.
    """

    def __init__(
        self,
        network: Sam2VideoModel,
        processor: Sam2VideoProcessor,
        video: Frames,
        products: ProductPrecision,
        cache_bytes: int,
    ):
        self.network = network
        self.processor = processor
        self.video = video
        self._frames: EncodedFrames[FrameFeatures] = EncodedFrames(video, cache_bytes, self._encode)
        self.products = products

    def features(self, frame: int, coming: Iterable[int] = ()) -> FrameFeatures:
        """The features of a frame, computed or remembered; `coming` are the frames that are asked for next."""
        return self._frames.get(frame, coming)

    @property
    def cache(self) -> FeatureCache[FrameFeatures]:
        """Of frames that may be needed again."""
        return self._frames.cache

    @property
    def images(self) -> PreparedFrames[NDArray[np.uint8]]:
        """The frames as they are read."""
        return self._frames.images

    @torch.inference_mode()
    def _encode(self, frame: NDArray[np.uint8]) -> FrameFeatures:
        image = network_image(frame, image_side(self.network), self.network.device)
        with self.products:
            found: Any = self.network.get_image_features(image.to(self.network.dtype))
        return FrameFeatures(found.fpn_hidden_states, found.fpn_position_encoding[-1])


class _GivenFeatures:
    """In the place of a session's cache: always has the features of the frame that is next."""

    def __init__(self) -> None:
        self.now: FrameFeatures | None = None

    def get_vision_features(self, frame_idx: int) -> dict[str, Any]:
        assert self.now is not None  # set before each step
        return {"vision_feats": list(self.now.levels), "vision_pos_embeds": [self.now.positions]}


class Session(Sam2VideoInferenceSession):
    """A session that holds no frames. It knows how many the video has, which decides how memories are dated.

    Args:
        encoder: of the video.
    """

    def __init__(self, encoder: FrameEncoder):
        height, width = encoder.video.size
        device = encoder.network.device
        super().__init__(
            video_height=height,
            video_width=width,
            inference_device=device,
            inference_state_device=device,
            dtype=encoder.network.dtype,
        )
        self.encoder = encoder
        self.cache: Any = _GivenFeatures()

    @property
    def num_frames(self) -> int:
        """Of the video."""
        return len(self.encoder.video)

    def step(
        self, frame: int, features: FrameFeatures, *, reverse: bool = False, remember: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Segment all objects in a frame.

        Args:
            frame: its index.
            features: of the frame.
            reverse: whether the session goes towards the first frame.
            remember: whether what is found serves later frames.

        Returns:
            Mask logits float32 [n, h, w] at stride 4 and presence [n] from 0 to 1, in the order of the objects.
        """
        self.cache.now = features
        with torch.inference_mode(), self.encoder.products:
            found = self.encoder.network(self, frame_idx=frame, reverse=reverse, run_mem_encoder=remember)
        return found.pred_masks[:, 0].float(), found.object_score_logits[:, 0].float().sigmoid()


def object_bytes(network: Sam2VideoModel, size: tuple[int, int], references: int = 1) -> int:
    """About how much memory an object with so many references takes on its way through a video of a size (H, W)."""
    side = image_side(network)
    tokens = (side // 16) ** 2 * network.config.memory_encoder_output_channels
    remembered = network.config.num_maskmem + references - 1
    memories = tokens * (2 * remembered + 4)  # features in bfloat16, and the position code in float32
    return memories + 4 * (side // 4) ** 2 + 2 * math.prod(size)  # mask logits of a frame; the mask as it was given


def session_bytes(network: Sam2VideoModel, objects: int) -> int:
    """About how much memory is needed besides, while the memories of some objects are encoded."""
    return min(objects, OBJECTS_AT_ONCE) * ENCODING * 4 * image_side(network) ** 2


class Tracker:
    """Objects on their way through the video, in one direction and then in the other.

    The references, frames whose masks are given, are seen once; both ways know all of them.

    Args:
        encoder: of the video.
        references: by their frames, bool [H, W] of each object on the network's device; an object without pixels is
            not in that frame.
        features: gives the features of a frame.
        reverse: whether the first way is that towards the first frame.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        references: Mapping[int, Sequence[Tensor]],
        features: Callable[[int], FrameFeatures],
        *,
        reverse: bool,
    ):
        self._reverse = reverse
        config = encoder.network.config
        self._memories = config.num_maskmem - 1  # most frames whose features are read, besides the references
        self._pointers = config.max_object_pointers_in_encoder - 1  # and those whose object pointers are
        self._sessions: list[Session] = []
        seen = {frame: features(frame) for frame in references}
        for start in range(0, len(next(iter(references.values()))), OBJECTS_AT_ONCE):
            session = Session(encoder)
            for frame, masks in references.items():
                some = list(masks[start : start + OBJECTS_AT_ONCE])
                places = range(len(some))
                encoder.processor.process_new_mask_for_video_frame(session, frame, list(places), some)
                session.step(frame, seen[frame])
                for place in places:
                    session.remove_mask_inputs(place, frame)
                self._forget(session, frame)
            self._sessions.append(session)

    def turn_round(self) -> None:
        """Go back to the references and take the other direction from there."""
        self._reverse = not self._reverse
        for session in self._sessions:
            for outputs in session.output_dict_per_obj.values():
                outputs["non_cond_frame_outputs"].clear()

    def step(self, frame: int, features: FrameFeatures) -> tuple[Tensor, Tensor]:
        """Segment the next frame after a reference or after the last step; returns what `Session.step` does."""
        found = []
        for session in self._sessions:
            found.append(session.step(frame, features, reverse=self._reverse))
            self._forget(session, frame)
        logits, presences = zip(*found, strict=True)
        return torch.cat(logits), torch.cat(presences)

    def _forget(self, session: Session, frame: int) -> None:
        """Drop what no later frame reads; most of it are masks at full size."""
        for outputs in session.output_dict_per_obj.values():
            given, tracked = list(outputs["cond_frame_outputs"].values()), outputs["non_cond_frame_outputs"]
            for kept in (*given, *tracked.values()):
                kept.pop("high_res_masks", None)
                kept.pop("pred_masks", None)
            if frame in tracked:
                tracked[frame]["maskmem_pos_enc"] = given[0]["maskmem_pos_enc"]  # equal in every frame, so kept once
            for earlier in [earlier for earlier in tracked if abs(frame - earlier) >= self._memories]:
                tracked[earlier].pop("maskmem_features", None)
                tracked[earlier].pop("maskmem_pos_enc", None)
                if abs(frame - earlier) >= self._pointers:
                    del tracked[earlier]
        for seen in session.frames_tracked_per_obj.values():
            seen.clear()
