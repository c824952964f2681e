"""Published files go in strictly; the generic part of reading and writing is tested in program_kit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from golden_cases import GoldenCase, find_cases
from program_kit.errors import CheckpointError
from program_kit.origin import Origin
from program_kit.torch.checkpoint.model_checkpoints import ModelCheckpoints, Unallocated
from program_kit.torch.checkpoint.reading import read_checkpoint
from program_kit.torch.checkpoint.table import Drop, convert
from uninext.bundled import BUNDLED
from uninext.checkpoint import CHECKPOINTS, published_table
from uninext.config import UninextConfig
from uninext.model import build_uninext

CASES = find_cases("uninext", kinds={"inference"}, local=Path(__file__).parent / "goldens")
TINY = [case for case in CASES if case.name in {"tiny_convnext", "tiny_vit"}]
ALIASED = "detr.detr.bbox_embed.0.layers.0.weight"
ORIGINAL = "detr.detr.transformer.decoder.bbox_embed.0.layers.0.weight"


@pytest.fixture(params=TINY, ids=str)
def case(request: pytest.FixtureRequest) -> GoldenCase:
    return request.param


@pytest.fixture
def config(case: GoldenCase, config_of: Callable[..., UninextConfig]) -> UninextConfig:
    return config_of(case.manifest)


@pytest.fixture
def checkpoints(config: UninextConfig) -> ModelCheckpoints:
    return CHECKPOINTS.with_config("golden", config)


@pytest.fixture
def published(case: GoldenCase, tensors_of: Callable[..., dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return tensors_of(case)


@pytest.fixture
def file(published: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    """A file as detectron2's checkpointer writes it in training."""
    path = tmp_path / "model_final.pth"
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    scheduler = {"base_lrs": [1e-4], "last_epoch": 3}
    torch.save({"model": published, "optimizer": optimizer, "scheduler": scheduler, "iteration": 3}, path)
    return path


def converted(published: dict[str, torch.Tensor], config: UninextConfig) -> dict[str, torch.Tensor]:
    return convert(published, published_table(config), build_uninext(config), "file.pth")


def test_a_published_file_fills_every_entry(file: Path, checkpoints: ModelCheckpoints, config: UninextConfig) -> None:
    state = checkpoints.load(file, "golden").state_dict()
    assert state.keys() == build_uninext(config).state_dict().keys()
    assert not any(tensor.is_meta for tensor in state.values())


def test_the_template_backbone_is_never_built(config: UninextConfig, published: dict[str, torch.Tensor]) -> None:
    assert any(name.startswith("detr.detr.ref_backbone.") for name in published)
    image_channels = {p.shape[1] for name, p in build_uninext(config).named_parameters() if "stem.0.w" in name}
    assert image_channels <= {3}
    assert not any("ref" in name for name, _ in build_uninext(config).named_children())


def test_unallocated_networks_take_over_the_tensors(file: Path, checkpoints: ModelCheckpoints) -> None:
    with Unallocated():
        network = build_uninext(checkpoints.configs["golden"])
    assert network.encoder[0].feedforward.expand.weight.is_meta
    checkpoint = read_checkpoint(file)
    checkpoints.fill(network, checkpoint, "golden")
    assert not any(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()])
    published = checkpoint.state["detr.detr.transformer.tgt_embed.weight"]
    assert network.state_dict()["decoder.content.weight"].data_ptr() == published.data_ptr()


def test_both_names_of_a_shared_head_must_agree(published: dict[str, torch.Tensor], config: UninextConfig) -> None:
    published[ALIASED] = published[ALIASED] + 1
    with pytest.raises(CheckpointError, match=rf"{ALIASED}: must equal {ORIGINAL}, but does not"):
        converted(published, config)


@pytest.mark.parametrize("name", [ALIASED, ORIGINAL])
def test_one_name_of_a_shared_head_is_enough(
    published: dict[str, torch.Tensor], config: UninextConfig, name: str
) -> None:
    expected = published.pop(name)
    assert torch.equal(converted(published, config)["decoder.box_heads.0.0.weight"], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detr.detr.transformer.surprise": torch.zeros(1)}, r"unknown \(1\):\s+detr\.detr\.transformer\.surprise"),
        ({"detr.detr.transformer.level_embed": None}, r"missing \(1\):\s+pyramid\.level_codes"),
        ({"detr.detr.transformer.level_embed": torch.zeros(2)}, r"level_embed: expected shape \[4, \d+\], found \[2\]"),
        ({"detr.detr.iou_head.0.extra": torch.zeros(1)}, None),  # judges another layer
    ],
)
def test_whatever_does_not_fit_is_listed(
    published: dict[str, torch.Tensor], config: UninextConfig, change: dict, message: str | None
) -> None:
    changed = {name: tensor for name, tensor in (published | change).items() if tensor is not None}
    if message is None:
        converted(changed, config)
    else:
        with pytest.raises(CheckpointError, match=message):
            converted(changed, config)


def test_the_other_backbone_is_refused(
    file: Path, case: GoldenCase, checkpoints: ModelCheckpoints, config_of: Callable[[dict], UninextConfig]
) -> None:
    (other,) = (config_of(c.manifest) for c in TINY if c is not case)
    with pytest.raises(CheckpointError, match=r"its names and shapes fit config .*golden"):
        checkpoints.with_config("other", other).load(file, "other")


def test_a_converted_file_holds_the_same_weights(file: Path, checkpoints: ModelCheckpoints, tmp_path: Path) -> None:
    target = tmp_path / "converted.safetensors"
    checkpoints.convert(file, target, "golden")
    origin = Origin(model="uninext", config="golden", source_sha256=read_checkpoint(file).sha256)
    assert read_checkpoint(target).origin == origin
    before, after = (checkpoints.load(path, "golden").state_dict() for path in (file, target))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(CheckpointError, match="for configuration 'golden', not for 'vit-h'"):
        checkpoints.load(target, "vit-h")


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_weights_are_of_their_configuration(name: str) -> None:
    """Their metadata has a layout of its own, which does not name the model."""
    assert read_checkpoint(BUNDLED[name].path).origin.model == "uninext"
    CHECKPOINTS.load(BUNDLED[name].path, BUNDLED[name].config)


def test_drops_say_why() -> None:
    for config in CHECKPOINTS.configs.values():
        assert all(rule.reason for rule in published_table(config) if isinstance(rule, Drop))
