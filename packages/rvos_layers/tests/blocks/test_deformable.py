"""Images are independent, padding is invisible, references are refined as published."""

import pytest
import torch
from golden_cases import assert_close
from rvos_layers.blocks.config import DeformableConfig
from rvos_layers.blocks.deformable import DeformableTransformer, encoder_reference_points, valid_ratio
from rvos_layers.blocks.heads import MLP, inverse_sigmoid, refine
from rvos_layers.encoders.positions import sine_encoding_2d
from rvos_layers.encoders.pyramid import resize_padding
from torch import nn

CONFIG = DeformableConfig(
    hidden_size=32,
    num_heads=4,
    encoder_layers=2,
    decoder_layers=2,
    feedforward_dim=48,
    levels=2,
    encoder_points=2,
    decoder_points=3,
)
LAYERS = 3 * CONFIG.encoder_layers + 5 * CONFIG.decoder_layers  # attentions count twice: weights and values
SHAPES = ((6, 8), (3, 4))


@pytest.fixture(scope="module")
def network() -> tuple[DeformableTransformer, nn.ModuleList]:
    torch.manual_seed(0)
    transformer = DeformableTransformer(CONFIG).eval()
    for name, parameter in transformer.named_parameters():
        if "attention_weights" in name or "sampling_offsets" in name:
            nn.init.normal_(parameter, std=0.3)
    return transformer, nn.ModuleList(MLP(32, 32, 4) for _ in range(2))


def run(network, levels, masks=None, query_init=None):
    transformer, heads = network
    if masks is None:
        positions = [sine_encoding_2d(torch.zeros(1, *shape, dtype=torch.bool), 32) for shape in SHAPES]
    else:
        positions = [sine_encoding_2d(mask, 32) for mask in masks]
    query_position = torch.randn(5, 32, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        return transformer(
            levels, positions, masks, query_position=query_position, query_init=query_init, box_heads=list(heads)
        )


def levels(count: int) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(1)
    return [torch.randn(count, 32, *shape, generator=source) for shape in SHAPES]


def test_images_do_not_see_each_other(network):
    three = levels(3)
    together = run(network, three)
    for image in range(3):
        alone = run(network, [level[image : image + 1] for level in three])
        assert_close(together.states[:, image], alone.states[:, 0], LAYERS)
        assert_close(together.references[:, image], alone.references[:, 0], LAYERS)
        for ours, theirs in zip(together.memory, alone.memory, strict=True):
            assert_close(ours[image], theirs[0], LAYERS)


def test_an_empty_mask_is_no_mask(network):
    masks = [torch.zeros(2, *shape, dtype=torch.bool) for shape in SHAPES]
    for name in ("states", "references"):
        assert_close(getattr(run(network, levels(2), masks), name), getattr(run(network, levels(2)), name), LAYERS)


def test_what_lies_under_padding_is_not_seen(network):
    whole = torch.zeros(1, 48, 64, dtype=torch.bool)
    whole[:, 32:], whole[:, :, 32:] = True, True
    masks = [resize_padding(whole, shape) for shape in SHAPES]
    clean = levels(1)
    noisy = [torch.where(mask[:, None], torch.full_like(x, 7.0), x) for x, mask in zip(clean, masks, strict=True)]
    one, other = run(network, clean, masks), run(network, noisy, masks)
    assert_close(one.states, other.states, LAYERS)
    for ours, theirs, mask in zip(one.memory, other.memory, masks, strict=True):
        assert_close(ours[0][:, ~mask[0]], theirs[0][:, ~mask[0]], LAYERS)
    torch.testing.assert_close(valid_ratio(masks[0]), torch.tensor([[4 / 8, 4 / 6]]))


def test_references_follow_the_box_heads(network):
    decoded = run(network, levels(2))
    _, heads = network
    assert torch.equal(decoded.reference_before(0), decoded.initial_reference)
    with torch.no_grad():
        for layer, head in enumerate(heads):
            expected = refine(decoded.reference_before(layer), head(decoded.states[layer]))
            assert_close(decoded.references[layer], expected, layers=3)


def test_queries_start_from_their_initial_values(network):
    zeros = torch.zeros(2, 5, 32)
    assert_close(run(network, levels(2), query_init=zeros).states, run(network, levels(2)).states, LAYERS)
    other = run(network, levels(2), query_init=zeros + 1).states
    assert (other - run(network, levels(2)).states).abs().max() > 1e-3


def test_cell_centres_of_a_small_picture():
    centres = encoder_reference_points(((1, 2),), torch.ones(1, 1, 2))
    assert centres.tolist() == [[[[0.25, 0.5]], [[0.75, 0.5]]]]
    half = encoder_reference_points(((1, 2),), torch.tensor([[[0.5, 1.0]]]))  # the right column is padding
    assert half.tolist() == [[[[0.25, 0.5]], [[0.75, 0.5]]]]


def test_a_centre_gives_a_box_its_position_only():
    change = torch.tensor([[0.0, 0.0, 1.0, -1.0]])
    box = refine(torch.tensor([[0.25, 0.75]]), change)
    torch.testing.assert_close(box, torch.tensor([[0.25, 0.75, 0.7310586, 0.2689414]]))
    torch.testing.assert_close(refine(box, torch.zeros(1, 4)), box)
    torch.testing.assert_close(
        inverse_sigmoid(torch.tensor([0.0, 0.5, 2.0])), torch.tensor([-11.512925, 0.0, 11.512925])
    )


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="hidden_size \\(30\\) must be a multiple of num_heads \\(4\\)"):
        DeformableConfig(hidden_size=30, num_heads=4)
