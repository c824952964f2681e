"""What holds for the training of this family: from files to weights for inference, and the network's part."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from mask_interchange import MaskRun
from rvos_layers.encoders.config import PAD
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.grounded.masks import CrossModalFPN
from rvos_layers.grounded.segmenter import GroundedSegmenter
from rvos_layers.inference.model_factory import ModelPredictor
from rvos_synthetic.dataset import write_dataset
from rvos_training.command.trainer_factory import TrainerFactory
from rvos_training.data.augmentation import Augmentation
from rvos_training.data.batches import Batch
from rvos_training.loop.model_with_loss import ReferringModelWithLoss
from rvos_training.losses.criterion import Losses
from rvos_training.losses.grounded_objective import criterion, layer_predictions
from rvos_training.losses.targets import Predictions, Targets
from typer.testing import CliRunner

from golden_cases import NETWORK, assert_close
from golden_cases.grounded.training_cases import without_dropout

TINY = ["--config", "tiny", "--short-side", "32", "--device", "cpu"]
FRESH = ["--backbone-weights", "random", "--text-encoder", "random", "--workers", "0"]
TOKEN_IDS = torch.tensor([[0, 17, 40, 2, PAD, PAD], [0, 99, 5, 31, 7, 2]])


class TrainingContract:
    """Tests to inherit from.

    A subclass names the `kind` of predictor, the commands that `train` it and `infer` with it, the training `factory`,
    and the recipe for `videos` alone.
    """

    kind: type[ModelPredictor]
    factory: TrainerFactory
    train: typer.Typer
    infer: typer.Typer
    videos: str

    @pytest.fixture
    def model(self) -> GroundedSegmenter:
        """A tiny network in training mode, without dropout, in which no parameter is neutral."""
        torch.manual_seed(0)
        model = self.kind.factory.checkpoints.build(self.kind.factory.configs["tiny"])
        assert isinstance(model, GroundedSegmenter)
        without_dropout(model)
        for parameter in model.parameters():
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.1)
        return model

    def test_two_steps_from_files_to_masks(self, tmp_path: Path) -> None:
        data, out, run = (tmp_path / name for name in ("data", "out", "run"))
        write_dataset(data, "train", 2, size=(48, 64), frames=7)
        write_dataset(data, "valid", 1, size=(48, 64), frames=3)
        trained = invoke(self.train, *TINY, *FRESH, "--data", data, "--out", out, "--recipe", self.videos, "--steps", 2)
        assert trained.exit_code == 0, trained.output
        log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in log if line["event"] == "train"] == [1, 2]
        [step] = [line["step"] for line in log if line["event"] == "validation"]
        asked = ["--dataset", data, "--split", "valid", "--out", run, "--tokenizer", "bytes"]
        found = invoke(self.infer, *TINY, *asked, "--checkpoint", out / "last.safetensors")
        assert found.exit_code == 0, found.output
        [video] = MaskRun.open(run).videos()
        validated = MaskRun.open(out / "validation" / f"step-{step:07d}")
        assert MaskRun.open(run).read(video).tracks == validated.read(video).tracks

    def test_the_command_knows_every_recipe_and_configuration(self) -> None:
        result = invoke(self.train, "--help")
        assert result.exit_code == 0
        assert "|".join(self.kind.factory.configs) in "".join(result.output.split()).replace("│", "")

    def test_every_parameter_learns(self, model: GroundedSegmenter) -> None:
        """All but those that are frozen; a parameter without gradient would stop training on several processes."""
        losses(model, batch(2)).total.backward()
        parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert [name for name, parameter in parameters.items() if parameter.grad is None] == []

    def test_bfloat16_changes_losses_little(self, model: GroundedSegmenter) -> None:
        """Every operation of the network takes it, the kernel as well; its error is that of three digits."""
        whole = losses(model, batch(2))
        with torch.autocast("cpu", torch.bfloat16):
            half = losses(model, batch(2))
        assert half.total != whole.total
        torch.testing.assert_close(half.total.float(), whole.total, rtol=0.02, atol=0)
        half.total.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)

    def test_mask_features_are_computed_once_for_all_layers(
        self, model: GroundedSegmenter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        decode, runs = CrossModalFPN.forward, []
        monkeypatch.setattr(CrossModalFPN, "forward", lambda *given: runs.append(1) or decode(*given))
        losses(model, batch(2)).total.backward()
        assert len(runs) == 1

    def test_training_and_inference_give_the_same_masks(self, model: GroundedSegmenter) -> None:
        given = batch(1)
        with torch.no_grad():
            video, text = model.encode_video(given.frames), model.encode_text(given.tokens)
            for found in model.decode_layers(video, text):
                features = model.masks.features(video, text, found.memory)
                expected = model.predict_masks(video, text, found)
                assert_close(model.masks.masks_from_features(features, video, found), expected, NETWORK)

    def test_clips_of_a_batch_keep_apart(self, model: GroundedSegmenter) -> None:
        """Predictions for two clips together are those for each alone, if none is padded."""
        together = predictions_of(model, batch(2))
        for i in range(2):
            for layer, alone in zip(together, predictions_of(model, batch(2, [i])), strict=True):
                assert_close(layer.logits[i], alone.logits[0], NETWORK)
                assert_close(layer.boxes[i], alone.boxes[0], NETWORK)
                assert_close(layer.predict_all_masks()[i], alone.predict_all_masks()[0], NETWORK)

    def test_padded_pixels_have_no_position_code(self, model: GroundedSegmenter) -> None:
        """As published they have one, that is the sine of millions: `--faithful` repeats it, evaluation as well."""
        padded = torch.zeros(1, 3, 64, 64, dtype=torch.bool)
        padded[..., 40:] = True
        frames = torch.zeros(1, 3, 3, 64, 64)
        with torch.no_grad():
            clean = model.encode_video(frames, padded).grids
            model.faithful = True
            faithful = model.encode_video(frames, padded).grids
            model.faithful = False
            evaluated = model.eval().encode_video(frames, padded).grids
        for ours, published, evaluation in zip(clean, faithful, evaluated, strict=True):
            assert ours.padding_mask is not None
            hidden = ours.padding_mask[:, None].expand_as(ours.position)
            assert not ours.position[hidden].any()
            assert torch.equal(ours.position[~hidden], published.position[~hidden])
            assert torch.equal(published.position, evaluation.position)
        assert (faithful[0].position[..., 10:].abs() > 0.5).any()

    @pytest.mark.parametrize("faithful", [False, True])
    def test_faithful_reaches_every_part(self, model: GroundedSegmenter, faithful: bool) -> None:
        config = replace(self.factory.train_configs[self.videos], faithful=faithful)
        transform = self.factory.transform(config)
        assert isinstance(transform, Augmentation)
        assert transform.faithful == faithful
        trained = self.factory.with_losses(model, faithful)
        assert isinstance(trained, ReferringModelWithLoss)
        assert trained.criterion.matcher.faithful == faithful
        self.factory.prepare(model, faithful)
        assert model.faithful == faithful

    def test_sizes_follow_the_short_side(self) -> None:
        config = self.factory.train_configs[self.videos]
        published = self.factory.transform(config)
        half = self.factory.transform(replace(config, resize=replace(config.resize, short=180)))
        assert isinstance(published, Augmentation)
        assert isinstance(half, Augmentation)
        assert (min(published.whole.short), max(published.whole.short), published.whole.longest) == (288, 512, 640)
        assert (min(half.whole.short), max(half.whole.short), half.whole.longest) == (144, 256, 320)


def invoke(command: typer.Typer, *arguments: object):
    """Run a command in this process."""
    return CliRunner().invoke(command, [*map(str, arguments)])


def batch(clips: int, kept: list[int] | None = None) -> Batch:
    """Some clips of three frames of noise, each with an expression, and a square that is missing in the last frame."""
    kept = kept or list(range(clips))
    frames = torch.randn(clips, 3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    masks = torch.zeros(clips, 3, 64, 64, dtype=torch.bool)
    masks[:, :2, 16:40, 8:30] = True
    boxes = torch.tensor([0.3, 0.44, 0.34, 0.38]).expand(clips, 3, 4) * masks.any((2, 3))[..., None]
    ids = TOKEN_IDS[kept]
    return Batch(
        frames=frames[kept],
        padding_mask=None,
        tokens=Tokens(ids, ids == PAD),
        targets=Targets(boxes=boxes[kept], masks=masks[kept], visible=masks[kept].any(3).any(2)),
        names=tuple(map(str, kept)),
    )


def losses(model: GroundedSegmenter, given: Batch) -> Losses:
    """Losses of a batch."""
    return ReferringModelWithLoss(model, layer_predictions, criterion())(given)


def predictions_of(model: GroundedSegmenter, given: Batch) -> list[Predictions]:
    """Predictions of all decoder layers."""
    with torch.no_grad():
        video = model.encode_video(given.frames, given.padding_mask)
        return layer_predictions(model, video, model.encode_text(given.tokens))
