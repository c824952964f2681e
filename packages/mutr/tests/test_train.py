"""Training: what is shared with ReferFormer, the published recipe, and what `--faithful` brings back."""

import pytest
import torch
from golden_cases import NETWORK, assert_close, rounding
from golden_cases.grounded.training_contract import TrainingContract, batch, predictions_of
from mutr import MUTRPredictor, cli
from mutr.train import trainer
from mutr.train.configs import TRAIN_CONFIGS


class TestTraining(TrainingContract):
    kind = MUTRPredictor
    factory = trainer.FACTORY
    train = trainer.app
    infer = cli.main
    videos = "videos"

    def test_faithful_deals_frames_out_to_the_wrong_clips(self, model):
        """Both published mix-ups: frames before the exchange, answers behind it."""
        model.faithful = True
        [*_, last] = predictions_of(model, batch(2))
        [*_, alone] = predictions_of(model, batch(2, [0]))
        assert (last.logits[0] - alone.logits[0]).abs().max() > rounding(alone.logits, NETWORK)
        # Two clips, three frames: A B A, B A B. Equal frames stand in other rows of a batch, and are rounded otherwise.
        assert_close(last.logits[:, 0], last.logits[:, 2], NETWORK)
        assert_close(last.logits[0, 0], last.logits[1, 1], NETWORK)
        assert (last.logits[0, 0] - last.logits[0, 1]).abs().max() > rounding(last.logits, NETWORK)

    def test_faithful_changes_nothing_with_one_short_clip(self, model):
        """Two frames fall into one window, shifted or not."""
        given = batch(1)
        video, text = model.encode_video(given.frames[:, :2]), model.encode_text(given.tokens)
        ours = model.decode_layers(video, text)
        model.faithful = True
        published = model.decode_layers(video, text)
        for one, other in zip(ours, published, strict=True):
            assert_close(one.logits, other.logits, NETWORK)

    @pytest.mark.parametrize("faithful", [False, True])
    def test_windows_shift_in_training_unless_faithful(self, model, faithful):
        states = torch.randn(1, 7, 3, 64, generator=torch.Generator().manual_seed(0))
        model.faithful = faithful
        with torch.no_grad():
            trained = model.finalize_queries(states)
            evaluated = model.eval().finalize_queries(states)
        apart = float((trained - evaluated).abs().max())
        assert (apart > rounding(evaluated, NETWORK)) is faithful

    def test_the_sentence_vector_is_left_out_of_training(self, model):
        """Nobody hears it, and several processes would wait for its gradient."""
        TRAIN_CONFIGS["joint"].optimisation.optimizer(model)
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        assert frozen == {f"text.roberta.pooler.dense.{name}" for name in ("weight", "bias")}


def test_the_joint_recipe_is_the_published_one():
    config, how = TRAIN_CONFIGS["joint"], TRAIN_CONFIGS["joint"].optimisation
    assert (config.frames, config.batch_size, config.epochs, config.seed) == (5, 2, 12, 42)
    assert config.images == ("refcoco", "refcoco+", "refcocog")
    assert (how.lr, how.backbone_lr, how.text_encoder_lr) == (1e-4, 6e-6, 1e-5)
    assert (how.lr_milestones, how.weight_decay, how.max_grad_norm) == ((8, 10), 5e-4, 0.1)
    assert TRAIN_CONFIGS["videos"].images == ()
