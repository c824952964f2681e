"""Single parts against plain formulas."""

import pytest
import torch
from golden_cases import assert_close, rounding
from torch.nn import functional
from uninext.config import ViTConfig, named_config
from uninext.deformable_transformer import ProposalHead, inverse_sigmoid
from uninext.errors import ConfigError, InputError
from uninext.fusion import EarlyFusion
from uninext.geometry import frame_geometry
from uninext.heads import DynamicMask
from uninext.predict import mask_probabilities, query_scores, top_queries


def test_dynamic_mask_is_a_small_network_of_each_query() -> None:
    torch.manual_seed(0)
    head = DynamicMask(16, 8, 3)
    queries, centres, features = torch.randn(1, 2, 16), torch.rand(1, 2, 2) * 40, torch.rand(1, 8, 3, 5)
    with torch.no_grad():
        logits = head(queries, centres, features)
        parameters = head.controller(queries)[0, 1]
    w1, w2, w3, b1, b2, b3 = parameters.split([80, 64, 8, 8, 8, 1])
    row, column = 2, 4
    offset = centres[0, 1] - torch.tensor([column * 8 + 4.0, row * 8 + 4.0])
    x = torch.cat([offset, features[0, :, row, column]])
    x = (w1.view(8, 10) @ x + b1).relu()
    x = (w2.view(8, 8) @ x + b2).relu()
    expected = (w3.view(1, 8) @ x + b3).item()
    assert logits.shape == (1, 2, 6, 10)
    # the doubled map keeps each cell's value one step right and below of twice its place
    assert logits[0, 1, 2 * row + 1, 2 * column + 1].item() == pytest.approx(expected, abs=rounding(logits, layers=3))


def test_probabilities_are_cropped_before_they_are_resized() -> None:
    logits = torch.full((1, 4, 4), -20.0)
    logits[:, :2, :2] = 20.0
    whole = mask_probabilities(logits, (8, 8), (4, 4))
    assert whole.shape == (1, 4, 4)
    assert whole[:, :3, :3].min() > 0.99
    assert mask_probabilities(logits, (16, 16), (4, 4))[0, 3, 3] < 0.01


def test_scores_and_the_first_of_equals() -> None:
    scores = query_scores(torch.tensor([[0.0, 2.0, 2.0]]), torch.tensor([[0.0, 1.0, 1.0]]))
    index, score = top_queries(scores)
    assert index.item() == 1
    assert score.item() == pytest.approx((0.8807971 * 0.7310586) ** 0.5, abs=rounding(1))


def test_fusion_does_not_see_padded_words() -> None:
    torch.manual_seed(0)
    fusion = EarlyFusion(16, 24, 32, 4)
    image = fusion.prepare_image(torch.randn(10, 16))
    words = torch.randn(1, 3, 24)
    padding_mask = torch.zeros(1, 3, dtype=torch.bool)
    padded = torch.cat([words, torch.full((1, 2, 24), 7.0)], 1)
    longer_mask = functional.pad(padding_mask, (0, 2), value=True)
    tokens, fused = fusion(image, words, padding_mask)
    tokens_padded, fused_padded = fusion(image, padded, longer_mask)
    assert_close(tokens, tokens_padded, layers=4)
    assert_close(fused, fused_padded[:, :3], layers=4)


def test_inverse_sigmoid_is_finite_at_the_ends() -> None:
    x = torch.tensor([0.0, 0.3, 1.0])
    assert inverse_sigmoid(x).isfinite().all()
    torch.testing.assert_close(inverse_sigmoid(x)[1].sigmoid(), x[1])


def test_too_few_tokens_is_a_clear_error() -> None:
    geometry = frame_geometry((64, 64), 16)
    head = ProposalHead(16, 900)
    with pytest.raises(InputError, match="64x64 has 85 image tokens"):
        head(torch.zeros(1, geometry.tokens, 16), geometry)


def test_unknown_and_impossible_configurations() -> None:
    with pytest.raises(ConfigError, match="vit-h"):
        named_config("vit-g")
    with pytest.raises(ConfigError, match="stride 16"):
        ViTConfig(patch_size=14)
    assert named_config("tiny-vit").num_queries < named_config("vit-h").num_queries
