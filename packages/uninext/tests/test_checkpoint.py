"""Published files go in strictly and safely; nothing else does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from golden_cases import GoldenCase, find_cases
from uninext.checkpoint import Unallocated, convert_file, convert_state_dict, load_weights, read_published, read_weights
from uninext.config import UninextConfig, named_config
from uninext.errors import CheckpointError
from uninext.model import build_uninext

CASES = find_cases("uninext", kinds={"inference"}, local=Path(__file__).parent / "goldens")
TINY = [case for case in CASES if case.name in {"tiny_convnext", "tiny_vit"}]
ALIASED = "detr.detr.bbox_embed.0.layers.0.weight"


@pytest.fixture(params=TINY, ids=str)
def case(request: pytest.FixtureRequest) -> GoldenCase:
    return request.param


@pytest.fixture
def config(case: GoldenCase, config_of: Callable[..., UninextConfig]) -> UninextConfig:
    return config_of(case.manifest)


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


def test_a_published_file_fills_every_entry(file: Path, config: UninextConfig) -> None:
    network = build_uninext(config)
    weights = read_weights(file, config)
    assert weights.keys() == network.state_dict().keys()
    load_weights(network, weights, str(file))
    assert not any(p.requires_grad for p in network.parameters())


def test_the_template_backbone_is_never_built(config: UninextConfig, published: dict[str, torch.Tensor]) -> None:
    assert any(name.startswith("detr.detr.ref_backbone.") for name in published)
    image_channels = {p.shape[1] for name, p in build_uninext(config).named_parameters() if "stem.0.w" in name}
    assert image_channels <= {3}
    assert not any("ref" in name for name, _ in build_uninext(config).named_children())


def test_unallocated_networks_take_over_the_tensors(file: Path, config: UninextConfig) -> None:
    with Unallocated():
        network = build_uninext(config)
    assert network.encoder[0].feedforward.expand.weight.is_meta
    weights = read_weights(file, config)
    load_weights(network, weights, str(file))
    assert not any(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()])
    name = "decoder.content.weight"
    assert network.state_dict()[name].data_ptr() == weights[name].data_ptr()


def test_both_names_of_a_shared_head_must_agree(published: dict[str, torch.Tensor], config: UninextConfig) -> None:
    published[ALIASED] = published[ALIASED] + 1
    with pytest.raises(CheckpointError, match=r"second name of decoder\.box_heads\.0"):
        convert_state_dict(published, config)


def test_one_name_of_a_shared_head_is_enough(published: dict[str, torch.Tensor], config: UninextConfig) -> None:
    del published[ALIASED]
    convert_state_dict(published, config)


def test_an_unknown_name_is_an_error_that_names_it(published: dict[str, torch.Tensor], config: UninextConfig) -> None:
    published["detr.detr.transformer.surprise"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"detr\.detr\.transformer\.surprise"):
        convert_state_dict(published, config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("iou_head.bias"), r"missing: iou_head\.bias"),
        (lambda weights: weights.update({"iou_head.extra": torch.zeros(1)}), r"unexpected: iou_head\.extra"),
        (lambda weights: weights.update({"iou_head.bias": torch.zeros(2)}), r"iou_head\.bias has shape \(2,\), exp"),
        (lambda weights: weights.update({"iou_head.bias": torch.tensor([float("nan")])}), "not finite"),
        (lambda weights: weights.update({"iou_head.bias": torch.zeros(1, dtype=torch.int64)}), "int64"),
    ],
)
def test_whatever_does_not_fit_is_listed(
    published: dict[str, torch.Tensor], config: UninextConfig, change: Callable, message: str
) -> None:
    weights = convert_state_dict(published, config)
    change(weights)
    with pytest.raises(CheckpointError, match=message):
        load_weights(build_uninext(config), weights, "file.pth")


def test_the_other_backbone_is_refused(
    file: Path, case: GoldenCase, config_of: Callable[[dict], UninextConfig]
) -> None:
    (other,) = (config_of(c.manifest) for c in TINY if c is not case)
    with pytest.raises(CheckpointError):
        load_weights(build_uninext(other), read_weights(file, other), str(file))


def test_a_converted_file_holds_the_same_weights(file: Path, config: UninextConfig, tmp_path: Path) -> None:
    target = tmp_path / "converted.safetensors"
    convert_file(file, target, config)
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
    before, after = read_weights(file, config), read_weights(target, config)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


class TestFiles:
    """What is not a checkpoint of ours ends as one clear error."""

    @pytest.fixture
    def config(self) -> UninextConfig:
        return named_config("tiny-vit")

    def test_code_is_never_run(self, tmp_path: Path, config: UninextConfig) -> None:
        class Bomb:
            def __reduce__(self) -> tuple:
                return (open, (str(tmp_path / "boom"), "w"))

        torch.save({"model": {"a": torch.zeros(1)}, "hook": Bomb()}, tmp_path / "evil.pth")
        with pytest.raises(CheckpointError, match="refused"):
            read_weights(tmp_path / "evil.pth", config)
        assert not (tmp_path / "boom").exists()

    @pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04broken"])
    def test_damaged_files(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "model.pth"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"model\.pth"):
            read_published(path)

    def test_a_truncated_file(self, tmp_path: Path) -> None:
        path = tmp_path / "model.pth"
        torch.save({"model": {"a": torch.zeros(1000)}}, path)
        path.write_bytes(path.read_bytes()[:1500])
        with pytest.raises(CheckpointError, match=r"model\.pth"):
            read_published(path)

    @pytest.mark.parametrize("content", [{}, {"model": {}}, {"model": {"epoch": 3}}, [torch.zeros(1)], {"epoch": 3}])
    def test_no_state_dict(self, tmp_path: Path, content: object) -> None:
        torch.save(content, tmp_path / "model.pth")
        with pytest.raises(CheckpointError, match="no state dict"):
            read_published(tmp_path / "model.pth")

    def test_safetensors_of_another_origin(self, tmp_path: Path, config: UninextConfig) -> None:
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
        with pytest.raises(CheckpointError, match="not a converted UNINEXT checkpoint"):
            read_weights(tmp_path / "other.safetensors", config)
        metadata = {"format": "uninext", "config": "vit-h"}
        save_file({"a": torch.zeros(1)}, tmp_path / "vit.safetensors", metadata)
        with pytest.raises(CheckpointError, match="converted for vit-h"):
            read_weights(tmp_path / "vit.safetensors", config)
        (tmp_path / "broken.safetensors").write_bytes(b"\x08" * 20)
        with pytest.raises(CheckpointError, match="cannot read"):
            read_weights(tmp_path / "broken.safetensors", config)
