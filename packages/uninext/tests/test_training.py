"""Matching, losses and steps, against what they should be by hand."""

import math
from dataclasses import replace

import pytest
import torch
from golden_cases import NETWORK, assert_close, rounding
from program_kit.torch.checkpoint.reading import read_checkpoint
from rvos_layers.encoders.tokenizer import Tokens
from rvos_training.data.batches import Batch
from rvos_training.errors import TrainingError
from rvos_training.loop.optimizer import MultiStepOptimisation
from rvos_training.losses.targets import Targets
from rvos_training.losses.terms import LossWeights
from torch.nn.functional import binary_cross_entropy_with_logits
from uninext.config import named_config
from uninext.geometry import frame_geometry
from uninext.model import build_uninext
from uninext.predict import UNINEXTPredictor
from uninext.train.initial_weights import PRIOR, init_weights
from uninext.train.matching import Candidates, assign_positives, overlap
from uninext.train.objective import FROM_NOTHING, PUBLISHED, FrameModelWithLoss
from uninext.train.trainer import FACTORY

BOXES_ONLY = LossWeights(label=0, box=1, giou=0, focal=0, dice=0)
OBJECT = torch.tensor([[0.5, 0.5, 0.4, 0.4]])
SEEN = torch.tensor([True])


def candidates(*boxes: tuple[float, ...], **others: torch.Tensor) -> Candidates:
    made = torch.tensor([boxes])
    defaults = {"logits": torch.zeros(1, len(boxes)), "centres": made[..., :2]}
    return Candidates(boxes=made, **(defaults | others))


def test_overlap_by_hand() -> None:
    a = torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.2, 0.2, 0.1, 0.1], [0.6, 0.5, 0.4, 0.4]])
    torch.testing.assert_close(overlap(a, OBJECT), torch.tensor([1.0, 0.0, 0.12 / 0.20]))
    assert overlap(torch.zeros(4), torch.zeros(4)) == 0


def test_as_many_are_positive_as_fit_well() -> None:
    near = (0.5, 0.5, 0.4, 0.38)
    chosen = assign_positives(candidates(near, near, near, (0.5, 0.5, 0.1, 0.1)), OBJECT, SEEN, BOXES_ONLY)
    assert chosen.tolist() == [[True, True, False, False]], "overlaps of 0.95 three times and 0.06 add up to 2.9"
    poor = assign_positives(candidates((0.5, 0.5, 0.1, 0.1), (0.5, 0.5, 0.2, 0.2)), OBJECT, SEEN, BOXES_ONLY)
    assert poor.tolist() == [[False, True]], "at least one, the cheapest"


def test_candidates_outside_are_positive_only_where_none_is_inside() -> None:
    boxes = candidates((0.5, 0.5, 0.4, 0.4), (0.5, 0.5, 0.2, 0.2), centres=torch.tensor([[0.9, 0.9], [0.5, 0.5]]))
    assert assign_positives(boxes, OBJECT, SEEN, BOXES_ONLY).tolist() == [[False, True]]
    outside = replace(boxes, centres=torch.full((2, 2), 0.9))
    assert assign_positives(outside, OBJECT, SEEN, BOXES_ONLY).tolist() == [[True, False]]


def test_what_is_not_allowed_or_not_visible_has_no_positive() -> None:
    boxes = candidates((0.5, 0.5, 0.4, 0.4), (0.5, 0.5, 0.1, 0.1), allowed=torch.tensor([False, True]))
    assert assign_positives(boxes, OBJECT, SEEN, BOXES_ONLY).tolist() == [[False, True]]
    assert not assign_positives(boxes, OBJECT, ~SEEN, BOXES_ONLY).any()


def test_surer_candidates_are_preferred() -> None:
    same = candidates((0.5, 0.5, 0.2, 0.2), (0.5, 0.5, 0.2, 0.2), logits=torch.tensor([[-3.0, 2.0]]))
    chosen = assign_positives(same, OBJECT, SEEN, LossWeights(label=2, box=5, giou=2, focal=0, dice=0))
    assert chosen.tolist() == [[False, True]]


def model_with_loss(loss_weights=PUBLISHED, config: str = "demo-convnext") -> FrameModelWithLoss:
    torch.manual_seed(0)
    network = build_uninext(named_config(config))
    init_weights(network)
    return FrameModelWithLoss(network, loss_weights)


def batch(count: int = 2, visible: bool = True, frames: int = 1) -> Batch:
    """Noise with a bright square; every other frame is darker."""
    masks = torch.zeros(count, frames, 96, 160, dtype=torch.bool)
    if visible:
        masks[..., 32:64, 40:80] = True
    pixels = torch.randn(count, frames, 3, 96, 160, generator=torch.Generator().manual_seed(1)) / 4 + masks[:, :, None]
    ids = torch.tensor([[0, 7, 9, 2], [0, 8, 2, 0]]).repeat(count, 1)[:count]
    return Batch(
        frames=pixels,
        padding_mask=None,
        tokens=Tokens(ids, (ids == 0) & (torch.arange(4) > 0)),
        targets=Targets(
            boxes=torch.tensor([0.375, 0.5, 0.25, 1 / 3]).expand(count, frames, 4).clone(),
            masks=masks,
            visible=masks.any((2, 3)),
        ),
        names=tuple(map(str, range(count))),
    )


def test_terms_add_up_with_their_weights() -> None:
    found = model_with_loss(FROM_NOTHING)(batch())
    assert {name.split("_")[0] for name in found.terms} == set(FROM_NOTHING)
    assert [name for name in found.terms if name.endswith("proposals")] == [
        "label_proposals",
        "box_proposals",
        "giou_proposals",
    ]
    assert {"label", "label_0", "dice", "dice_0", "overlap", "overlap_0"} <= set(found.terms)
    total = sum(FROM_NOTHING[name.split("_")[0]] * value.item() for name, value in found.terms.items())
    assert found.total.item() == pytest.approx(total, rel=rounding(1))


def test_losses_of_the_last_layer_by_hand() -> None:
    """Focal, L1, GIoU, cross entropy of overlap and dice written out in full for the assigned positives."""
    module, given = model_with_loss(), batch()
    network = module.uninext
    geometry = frame_geometry((96, 160), network.config.hidden_size)
    with torch.no_grad():
        text = network.encode_text(given.tokens.input_ids, given.tokens.padding_mask)
        found = []
        for at in range(2):  # one after the other, by the way that inference goes
            frame = network.encode_frame(given.frames[at, 0], geometry)
            found.append(network.decode(frame, text[at : at + 1]))
        truth = given.targets.boxes[0, 0]
        chosen = [
            assign_positives(
                Candidates(logits=one.class_logits, boxes=one.boxes, centres=one.centres / torch.tensor([160.0, 96.0])),
                truth[None],
                SEEN,
                LossWeights(label=2, box=5, giou=2, focal=0, dice=0),
            )[0]
            for one in found
        ]
        count = sum(int(some.sum()) for some in chosen)
        label = box = reached = dice = 0.0
        for one, some in zip(found, chosen, strict=True):
            for query, mine in enumerate(some.tolist()):
                p = one.class_logits[0, query].sigmoid().item()
                label += -0.25 * (1 - p) ** 2 * math.log(p) if mine else -0.75 * p**2 * math.log(1 - p)
                if not mine:
                    continue
                box += (one.boxes[0, query] - truth).abs().sum().item()
                wanted = overlap(one.boxes[0, query], truth)
                reached += binary_cross_entropy_with_logits(one.iou_logits[0, query], wanted).item()
                drawn = network.predict_masks(one, torch.tensor([[query]]))[0, 0].sigmoid()
                thinned = given.targets.masks[0, 0, 2::4, 2::4].float()
                common = (drawn * thinned).sum()
                dice += 1 - ((2 * common + 1) / (drawn.sum() + thinned.sum() + 1)).item()
        terms = module(given).terms
    expected = {"label": label, "box": box, "overlap": reached, "dice": dice}
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value / count, rel=rounding(1, NETWORK)), name


def test_steps_lower_the_loss_and_reach_every_parameter() -> None:
    module, given = model_with_loss(FROM_NOTHING), batch()
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3)
    totals = []
    for _ in range(12):
        found = module(given)
        found.total.backward()
        if not totals:
            still = {name for name, p in module.network.named_parameters() if p.grad is None}
            assert not still - {"text_encoder.bert.embeddings.word_embeddings.weight"}
        optimizer.step()
        optimizer.zero_grad()
        totals.append(found.total.item())
    assert totals[-1] < 0.7 * totals[0]


def test_an_object_that_is_not_visible_teaches_no_and_nothing_else() -> None:
    found = model_with_loss()(batch(visible=False))
    assert found.terms["label"] > 0
    assert all(value == 0 for name, value in found.terms.items() if not name.startswith("label"))
    found.total.backward()


def test_padding_is_not_learned_from() -> None:
    """Frames of 80x144 in a batch padded to 96x160: finite, and equal however the padding of the masks is filled."""
    module, given = model_with_loss(), batch()
    padding = torch.zeros(2, 1, 96, 160, dtype=torch.bool)
    padding[..., 80:, :] = padding[..., 144:] = True
    given = replace(given, frames=given.frames.masked_fill(padding[:, :, None], 0.0), padding_mask=padding)
    found = module(given)
    assert found.total.isfinite()
    found.total.backward()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


def test_what_it_does_not_learn_from_is_told() -> None:
    with pytest.raises(TrainingError, match="frames=1"):
        model_with_loss()(batch(frames=2))
    padding = torch.zeros(2, 1, 96, 160, dtype=torch.bool)
    padding[1, :, 80:] = True
    with pytest.raises(TrainingError, match="one size"):
        model_with_loss()(replace(batch(), padding_mask=padding))


def test_a_network_begins_with_boxes_at_their_anchors_and_few_proposals() -> None:
    network = model_with_loss().uninext
    geometry = frame_geometry((96, 160), network.config.hidden_size)
    memory = torch.randn(1, geometry.tokens, network.config.hidden_size)
    with torch.no_grad():
        found = network.proposals(memory, geometry)
        decoded = network.decoder(found.references, memory, geometry)
    inside = geometry.valid_anchors[found.indices[0]]
    torch.testing.assert_close(found.references[0][inside], geometry.anchors[found.indices[0]][inside])
    assert_close(decoded.references[-1], found.references)
    assert network.proposals.score.bias.sigmoid().item() == pytest.approx(PRIOR)


def test_a_box_teaches_its_layer_and_the_one_before() -> None:
    torch.manual_seed(0)
    config = replace(named_config("tiny-convnext"), hidden_size=32, num_queries=4, decoder_layers=3)
    network = build_uninext(config)
    geometry = frame_geometry((64, 64), 32)
    references = torch.rand(1, 4, 4, requires_grad=True)
    decoded = network.decoder(references, torch.randn(1, geometry.tokens, 32), geometry)
    decoded.references[-1].sum().backward()
    reached = [head[-1].weight.grad is not None for head in network.decoder.box_heads]
    assert reached == [False, True, True]
    assert references.grad is None


def test_trained_weights_go_on_and_serve_inference(tmp_path) -> None:
    made = FACTORY.model
    network = made.build_with_weights("demo-vit", None, seed=3)
    made.save(tmp_path / "a.safetensors", network, "demo-vit", {"tokenizer": "demo", "short_side": 96})
    again = made.build_with_weights("demo-vit", tmp_path / "a.safetensors")
    weights = read_checkpoint(tmp_path / "a.safetensors").state
    assert all(parameter.requires_grad for parameter in again.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
        assert torch.equal(weights[name], tensor)
    predictor = UNINEXTPredictor.load(tmp_path / "a.safetensors", device="cpu")
    assert predictor.network.config == named_config("demo-vit")
    assert predictor.preprocess.config.short_side == 96


def test_both_demo_networks_share_everything_but_the_backbone() -> None:
    shapes = [
        {name: tuple(tensor.shape) for name, tensor in build_uninext(named_config(config)).state_dict().items()}
        for config in ("demo-convnext", "demo-vit")
    ]
    own = ("backbone.", "pyramid.projections.")
    one, other = ({name: shape for name, shape in some.items() if not name.startswith(own)} for some in shapes)
    assert one == other


def test_backbone_and_text_encoder_have_rates_of_their_own() -> None:
    network = build_uninext(named_config("tiny-convnext"))
    how = MultiStepOptimisation(
        lr=3, backbone_lr=2, text_encoder_lr=1, weight_decay=0, max_grad_norm=1, lr_milestones=()
    )
    rates = {id(p): group["lr"] for group in how.optimizer(network).param_groups for p in group["params"]}
    expected = {"backbone": 2, "text_encoder": 1}
    for name, parameter in network.named_parameters():
        assert rates[id(parameter)] == expected.get(name.split(".")[0], 3), name
