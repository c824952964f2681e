"""What is ReferFormer's own: how pixels take up words, how queries are initialised, which layer gives the output."""

from dataclasses import replace

import pytest
import torch
from golden_cases import NETWORK, assert_close, rounding
from referformer.config import CONFIGS
from referformer.model import ReferFormer
from rvos_layers.encoders.config import PAD
from rvos_layers.encoders.tokenizer import Tokens
from torch import nn

EXPRESSIONS = [[0, 17, 40, 2, PAD, PAD], [0, 99, 5, 31, 7, 2]]


@pytest.fixture(scope="module")
def model() -> ReferFormer:
    torch.manual_seed(0)
    model = ReferFormer(CONFIGS["tiny"]).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=parameter.mean().item(), std=0.1)
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def text(model):
    ids = torch.tensor(EXPRESSIONS)
    return model.encode_text(Tokens(ids, ids == PAD))


@pytest.fixture(scope="module")
def video(model):
    return model.encode_video(torch.randn(1, 3, 3, 48, 64, generator=torch.Generator().manual_seed(1)))


def test_pixels_are_multiplied_by_what_they_attend_to(model, video, text):
    level = video.levels[1][:1]
    pixels = level.flatten(2).transpose(1, 2)
    some = text[:1]
    read = model.queries.words(pixels, some.words + some.word_positions, some.words, ~some.padding_mask[:, None, None])
    expected = (pixels * read).transpose(1, 2).reshape(level.shape)
    assert_close(model.queries.fuse_words(level, some), expected, layers=4)


def test_the_sentence_vector_initialises_queries(model, video, text):
    """Only the sentence vectors change here; equal inputs give equal bits."""
    before = model.decode(video, text)
    after = model.decode(video, replace(text, sentence=text.sentence.flip(0)))
    assert (before.logits - after.logits).abs().max() > rounding(before.logits, NETWORK)


def test_the_output_is_that_of_the_last_decoder_layer(model, video, text):
    before = model.decode(video, text)
    for layer, changes in ((0, False), (-1, True)):
        model.class_heads[layer].bias += 1
        after = model.decode(video, text)
        model.class_heads[layer].bias -= 1
        assert torch.equal(before.logits, after.logits) != changes


def test_masks_lie_around_the_refined_centres(model, video, text):
    outputs = model.decode(video, text)
    assert torch.equal(outputs.centres, outputs.boxes[..., :2])
    assert outputs.boxes.shape == (2, 3, 3, 4)
    assert ((outputs.boxes > 0) & (outputs.boxes < 1)).all()
