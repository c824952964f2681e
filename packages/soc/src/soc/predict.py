"""From weights to masks: the model of a checkpoint, with its tokenizer and its size of frames.

from soc import SOCPredictor

predictor = SOCPredictor.load("joint_base.tar", tokenizer="roberta-base")
tracks = predictor.segment(frames, ["the brown dog", "a dog turning"])  # frames: uint8 [H, W, 3] RGB each
tracks[0].mask(7)  # bool [H, W]
"""

from pathlib import Path
from typing import Self

from mask_interchange.program import ModelRequest, Weights
from rvos_layers.predictor import VideoPredictor
from rvos_layers.program import AUTO, ModelProgram

from soc.checkpoint import published_table
from soc.config import CONFIGS
from soc.model import SOC
from soc.preprocess import RESIZE

PROGRAM = ModelProgram(name="soc", configs=CONFIGS, build=SOC, table=published_table, resize=RESIZE)


class SOCPredictor(VideoPredictor):
    """Segments what sentences refer to; `predict` takes a video, `segment` any frames."""

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        *,
        seed: int | None = None,
        config: str = "joint-base",
        tokenizer: str = AUTO,
        device: str = "auto",
        soft_masks: int | None = None,
    ) -> Self:
        """Load a model.

        Args:
            checkpoint: published or converted weights.
            seed: draws random weights instead, for trying things out.
            config: name of a configuration in `soc.config.CONFIGS`.
            tokenizer: folder or Hugging Face hub id of RoBERTa's tokenizer; `bytes` for one token a byte; `auto` for
                `roberta-base`, and for `bytes` with random weights.
            device: `auto`, `cpu`, `cuda` or `cuda:<i>`.
            soft_masks: longer side in pixels of probabilities to keep beside the masks; None for none.

        Raises:
            RVOSLayersError: a device, weights or tokenizer that cannot be had.
        """
        if (checkpoint is None) == (seed is None):
            raise ValueError("give either a checkpoint or a seed for random weights")
        weights = Weights(checkpoint=None if checkpoint is None else Path(checkpoint), seed=seed)
        request = ModelRequest(
            config=config, weights=weights, tokenizer=tokenizer, device=device, soft_masks=soft_masks
        )
        return PROGRAM.load(request, cls)
