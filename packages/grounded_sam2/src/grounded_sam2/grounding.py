"""Grounding DINO on one frame after the other: the best boxes of every sentence.

The image encoder runs once a frame for all sentences; what follows it looks at frame and sentence together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from program_kit.errors import ProgramKitError
from program_kit.options import Precision
from program_kit.torch.precision import set_precision
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GroundingDinoForObjectDetection, GroundingDinoImageProcessor

from grounded_sam2.checkpoint import Encode

BOXES = 5  # kept for each sentence and frame; in most published failures the right box is among the first five
SENTENCES_AT_ONCE = 4  # in one batch behind the image encoder: bounds memory, changes no result


@dataclass(frozen=True, slots=True)
class Candidates:
    """The best boxes of one sentence in every frame, best first.

    Attributes:
        boxes: float32 [T, K, 4], (left, top, right, bottom) in pixels of the video.
        scores: float32 [T, K], 0..1: the best agreement of the box with a word of the sentence.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]


class Detector:
    """Finds boxes with one network.

    Args:
        network: on its device, in evaluation mode.
        encode: its tokenizer.
        short_side: frames are brought to this short side in pixels,
        long_side: unless the long side exceeds this.
        precision: set on the image encoder, see `program_kit.torch.precision`; what finds boxes stays in float32.
    """

    def __init__(
        self,
        network: GroundingDinoForObjectDetection,
        encode: Encode,
        *,
        short_side: int,
        long_side: int,
        precision: Precision = "strict",
    ):
        self.network = network
        self._encode = encode
        self._products = set_precision(network.model.backbone, precision)
        size = {"shortest_edge": short_side, "longest_edge": long_side}
        self._processor = GroundingDinoImageProcessor(size=size, do_pad=False)

    def tokens(self, sentences: Sequence[str]) -> list[Tensor]:
        """Token ids int64 [L] of each sentence, in lower case and with a period at its end as the network knows them.

        Raises:
            ProgramKitError: a sentence is too long.
        """
        ids = []
        for sentence in sentences:
            text = sentence.lower().strip()
            found = self._encode(text if text.endswith(".") else f"{text}.")
            if len(found) > (most := self.network.config.max_text_len):
                shown = sentence if len(sentence) <= 60 else sentence[:57] + "..."
                raise ProgramKitError(
                    f"expression {shown!r} has {len(found)} tokens, the detector takes at most {most}: shorten it"
                )
            ids.append(torch.tensor(found, device=self.network.device))
        return ids

    @torch.inference_mode()
    def candidates(self, frame: NDArray[np.uint8], sentences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The best boxes of every sentence in a frame.

        Args:
            frame: RGB uint8 [H, W, 3].
            sentences: what `tokens` gives.

        Returns:
            Boxes float32 [E, K, 4] as in `Candidates` and scores float32 [E, K], on the CPU.
        """
        image = self._processor(images=frame, return_tensors="pt", device=self.network.device)["pixel_values"]
        at_once = SENTENCES_AT_ONCE if image.is_cuda else 1  # a CPU is busy with one; more only cost memory and time
        boxes, scores = [], []
        with self._products, _SharedBackbone(self.network, image):
            for start in range(0, len(sentences), at_once):
                found = self._detect(image, sentences[start : start + at_once])
                best = found.logits.float().sigmoid().amax(-1).topk(min(BOXES, found.logits.shape[1]))
                boxes.append(found.pred_boxes.float().take_along_dim(best.indices[..., None], 1))
                scores.append(best.values)
        return _in_pixels(torch.cat(boxes).cpu(), frame.shape[:2]), torch.cat(scores).cpu()

    def _detect(self, image: Tensor, sentences: Sequence[Tensor]) -> Any:
        ids = pad_sequence(list(sentences), batch_first=True)
        mask = pad_sequence([torch.ones_like(sentence) for sentence in sentences], batch_first=True)
        return self.network(pixel_values=image.expand(len(sentences), -1, -1, -1), input_ids=ids, attention_mask=mask)


class _SharedBackbone:
    """While entered, the network's image encoder gives each sentence of a batch the features of one image."""

    def __init__(self, network: GroundingDinoForObjectDetection, image: Tensor):
        self._backbone = network.model.backbone
        self._image = image

    def __enter__(self) -> None:
        mask = torch.ones_like(self._image[:, 0], dtype=torch.long)
        own = next(self._backbone.parameters()).dtype  # that of what follows is the image's
        features, positions = self._backbone(self._image.to(own), mask)
        features = [(level.to(self._image.dtype), inside) for level, inside in features]
        positions = [position.to(self._image.dtype) for position in positions]

        def forward(pixel_values: Tensor, pixel_mask: Tensor) -> tuple[list[tuple[Tensor, Tensor]], list[Tensor]]:
            def repeat(tensor: Tensor) -> Tensor:
                return tensor.expand(len(pixel_values), *tensor.shape[1:])

            return [(repeat(level), repeat(inside)) for level, inside in features], [repeat(p) for p in positions]

        self._backbone.forward = forward

    def __exit__(self, *error: object) -> None:
        del self._backbone.forward  # that of its class shows again


def _in_pixels(boxes: Tensor, size: Iterable[int]) -> Tensor:
    """Boxes [E, K, 4] from (centre x, centre y, width, height) in 0..1 to corners in pixels, inside the frame."""
    height, width = size
    centre, extent = boxes[..., :2], boxes[..., 2:]
    corners = torch.cat([centre - extent / 2, centre + extent / 2], -1).clamp(0, 1)
    return corners * torch.tensor([width, height, width, height])
