"""What is MUTR's own: additive fusion, words that have seen the video, and heads of the first decoder layer."""

from dataclasses import replace

import pytest
import torch
from golden_cases import NETWORK, assert_close, rounding
from mutr.config import CONFIGS
from mutr.model import MUTR
from rvos_layers.encoders.config import PAD
from rvos_layers.encoders.tokenizer import Tokens
from rvos_layers.inference.query_masks import choose_query
from torch import nn

EXPRESSIONS = [[0, 17, 40, 2, PAD, PAD], [0, 99, 5, 31, 7, 2]]
WITHOUT_INFLUENCE = ["class_heads.1", "class_heads.2", "queries.box_heads.2", "text.roberta.pooler"]
WITH_INFLUENCE = ["class_heads.0", "queries.box_heads.0", "queries.box_heads.1", "aggregation", "interaction"]


@pytest.fixture(scope="module")
def model() -> MUTR:
    torch.manual_seed(0)
    model = MUTR(CONFIGS["tiny"]).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.1)
    return model.requires_grad_(False)


def tokens(*rows: int) -> Tokens:
    ids = torch.tensor([EXPRESSIONS[row] for row in rows])
    return Tokens(ids, ids == PAD)


def clip(seed: int = 1, frames: int = 5) -> torch.Tensor:
    return torch.randn(1, frames, 3, 48, 64, generator=torch.Generator().manual_seed(seed))


def run(model: MUTR, frames: torch.Tensor, asked: Tokens):
    video, text = model.encode_video(frames), model.encode_text(asked)
    outputs = model.decode(video, text)
    return outputs, model.predict_masks(video, text, outputs)


def test_what_pixels_attend_to_is_added_to_them(model):
    video, text = model.encode_video(clip()), model.encode_text(tokens(0))
    level = video.levels[1][:1]
    pixels = level.flatten(2).transpose(1, 2)
    read = model.queries.words(pixels, text.words + text.word_positions, text.words, ~text.padding_mask[:, None, None])
    expected = (pixels + read).transpose(1, 2).reshape(level.shape)
    assert_close(model.queries.fuse_words(level, text), expected, layers=4)


@pytest.mark.parametrize("part", WITHOUT_INFLUENCE + WITH_INFLUENCE)
def test_which_parts_have_a_say(model, part):
    """The published evaluation pairs queries of the last decoder layer with heads of the first."""
    outputs, masks = run(model, clip(), tokens(0, 1))
    parameters = list(model.get_submodule(part).parameters())
    kept = [parameter.clone() for parameter in parameters]
    for parameter in parameters:
        parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3))
    changed, changed_masks = run(model, clip(), tokens(0, 1))
    for parameter, before in zip(parameters, kept, strict=True):
        parameter.copy_(before)
    same = [
        torch.equal(outputs.logits, changed.logits),
        torch.equal(outputs.boxes, changed.boxes),
        torch.equal(masks, changed_masks),
    ]
    assert all(same) == (part in WITHOUT_INFLUENCE)


def test_scores_are_those_of_the_clip(model):
    """Equal in all frames to the last bit, so that the key frame is the first and not an accident of rounding."""
    outputs, _ = run(model, clip(frames=9), tokens(0, 1))
    assert torch.equal(outputs.logits, outputs.logits[:, :1].expand_as(outputs.logits))
    chosen = choose_query(outputs.logits[0])
    assert torch.equal(chosen.scores, chosen.scores[:1].expand(9))
    assert chosen.key_frame == 0


def test_words_see_the_whole_video(model):
    text = model.encode_text(tokens(0))
    frames = clip()
    changed = frames.clone()
    changed[:, 4] = 0
    before, after = (list(model.aggregation(model.encode_video(x), text)) for x in (frames, changed))
    assert len(before) == 4
    assert all((a - b).abs().max() > rounding(a, NETWORK) for a, b in zip(before, after, strict=True))


def test_padded_pixels_are_not_attended_to(model):
    """Words of a padded clip, whose pixel features are otherwise the same."""
    video, text = model.encode_video(clip()), model.encode_text(tokens(0))
    grids = [replace(g, padding_mask=torch.zeros(5, *g.position.shape[2:], dtype=torch.bool)) for g in video.grids]
    for grid in grids:
        grid.padding_mask[..., grid.padding_mask.shape[2] // 2 :] = True
    masked = replace(video, grids=grids)
    levels = [level.clone() for level in video.levels]
    for level in levels:
        level[..., level.shape[3] // 2 :] = 1e3
    *_, expected = model.aggregation(masked, text)
    *_, words = model.aggregation(replace(masked, levels=levels), text)
    assert_close(words, expected, layers=4)


@pytest.mark.parametrize("frames", [1, 5])
def test_expressions_and_clips_stay_apart(model, frames):
    """The published code mixes clips of a batch in two places."""
    clips = [clip(1, frames), clip(2, frames)]
    together, masks = run(model, clips[0], tokens(0, 1))
    paired, paired_masks = run(model, torch.cat(clips), tokens(0, 1))
    for row in (0, 1):
        alone, mask = run(model, clips[0], tokens(row))
        assert_close(together.logits[row], alone.logits[0], NETWORK)
        assert_close(masks[row], mask[0], NETWORK)
        alone, mask = run(model, clips[row], tokens(row))
        assert_close(paired.logits[row], alone.logits[0], NETWORK)
        assert_close(paired_masks[row], mask[0], NETWORK)
