"""The table language: every name goes somewhere, everything that does not fit is listed at once."""

import pytest
import torch
from program_kit.errors import CheckpointError
from program_kit.torch.checkpoint.table import Alias, Constant, Drop, Rename, convert, fits, matches, our_name
from torch import nn

TABLE = [
    Rename("stem.{*}", "entry.{*}"),
    Rename("layers.{i}.fc{j}.{*}", "blocks.{i}.{j}.{*}"),
    Rename("norm{i}.gamma.weight", "gammas.{i}", reshape=True),
    Rename("old.{*}", "entry.{*}"),
    Alias("copy.{*}", of="stem.{*}"),
    Alias("copies.{*}", of="extra.{*}"),
    Constant("positions", "positions"),
    Drop("extra.{*}", reason="of no use"),
]


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.entry = nn.Linear(2, 3)
        self.blocks = nn.ModuleList([nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])])
        self.gammas = nn.ParameterList([torch.ones(3)])
        self.register_buffer("positions", torch.arange(4), persistent=False)


@pytest.fixture
def published() -> dict[str, torch.Tensor]:
    state = {"stem.weight": torch.rand(3, 2), "stem.bias": torch.rand(3), "norm0.gamma.weight": torch.rand(1, 3)}
    for layer in range(2):
        state |= {f"layers.0.fc{layer}.weight": torch.rand(3, 3), f"layers.0.fc{layer}.bias": torch.rand(3)}
    copies = {"copy.weight": state["stem.weight"].clone(), "copy.bias": state["stem.bias"].clone()}
    return {**state, **copies, "positions": torch.arange(4)[None], "extra.a.b": torch.zeros(7)}


def refusal(state: dict[str, torch.Tensor]) -> str:
    with pytest.raises(CheckpointError) as caught:
        convert(state, TABLE, Network(), "tiny.pth")
    return str(caught.value)


def test_every_entry_is_filled_under_our_name(published):
    network = Network()
    state = convert(published, TABLE, network, "tiny.pth")
    network.load_state_dict(state, strict=True)
    assert state["entry.weight"] is published["stem.weight"]  # not copied
    assert torch.equal(state["blocks.0.1.bias"], published["layers.0.fc1.bias"])
    assert torch.equal(state["gammas.0"], published["norm0.gamma.weight"][0])


def test_other_precisions_become_float32(published):
    state = convert({name: tensor.half() for name, tensor in published.items()}, TABLE, Network(), "tiny.pth")
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


def test_everything_wrong_is_listed_at_once(published):
    del published["layers.0.fc0.bias"], published["layers.0.fc1.bias"]
    published["layers.0.fc0.weight"] = torch.zeros(3, 4)
    published["layers.0.fc1.weight"] = published["layers.0.fc1.weight"].long()
    published["stem.bias"] = published["copy.bias"] = torch.tensor([0.0, float("nan"), 1.0])
    published["norm0.gamma.weight"] = torch.zeros(1, 4)
    published["copy.weight"] = published["copy.weight"] + 1
    published["positions"] = torch.tensor([0, 1, 2, 4])
    published["head.weight"] = torch.zeros(3)
    published["layers.1.fc0.bias"] = torch.zeros(3)
    assert refusal(published).splitlines() == [
        "tiny.pth: does not fit the model; check that the file belongs to this model and configuration",
        "  unknown (2):",
        "    head.weight [3]",
        "    layers.1.fc0.bias [3]",
        "  missing (2):",
        "    blocks.0.0.bias [3] (our name)",
        "    blocks.0.1.bias [3] (our name)",
        "  wrong (7):",
        "    stem.bias: has values that are not finite",
        "    norm0.gamma.weight: expected shape [3], found [1, 4]",
        "    layers.0.fc0.weight: expected shape [3, 3], found [3, 4]",
        "    layers.0.fc1.weight: expected floating point numbers, found torch.int64",
        "    copy.weight: must equal stem.weight, but does not",
        "    copy.bias: must equal stem.bias, but does not",  # nan is not equal to itself
        "    positions: must equal what the configuration implies, but does not",
    ]


def test_a_constant_is_checked_in_any_layout_and_may_be_absent(published):
    for positions in (torch.arange(4), torch.arange(4).reshape(2, 2), torch.arange(4).int()):
        convert({**published, "positions": positions}, TABLE, Network(), "tiny.pth")
    assert "positions: must equal" in refusal({**published, "positions": torch.arange(5)})
    del published["positions"]
    convert(published, TABLE, Network(), "tiny.pth")


def test_one_of_two_names_of_a_tensor_is_enough(published):
    for name in ("stem.weight", "copy.bias"):
        kept = {other: tensor for other, tensor in published.items() if other != name}
        assert torch.equal(convert(kept, TABLE, Network(), "t")["entry.weight"], published["stem.weight"])


def test_what_repeats_a_dropped_entry_is_dropped(published):
    convert({**published, "copies.a.b": torch.ones(7), "copies.c": torch.ones(1)}, TABLE, Network(), "tiny.pth")


def test_two_entries_that_stand_for_one_are_refused(published):
    message = refusal({**published, "old.weight": published["stem.weight"]})
    assert "old.weight: stands for the same entry as stem.weight" in message


def test_shapes_must_be_equal_where_the_table_does_not_say_otherwise(published):
    assert "stem.bias: expected shape [3], found [1, 3]" in refusal({**published, "stem.bias": torch.zeros(1, 3)})


def test_our_name():
    assert our_name("layers.3.fc1.weight", TABLE) == "blocks.3.1.weight"
    assert our_name("copy.bias", TABLE) == "entry.bias"
    assert our_name("extra.a", TABLE) is None
    assert our_name("copies.a", TABLE) is None
    assert our_name("unheard.of", TABLE) is None


def test_a_wildcard_of_one_part_ends_at_the_dot():
    assert matches("a.{i}.b", "a.12.b")
    assert not matches("a.{i}.b", "a.1.2.b")
    assert matches("a.{*}", "a.1.2.b")
    assert not matches("a.{*}", "a.")
    assert not matches("a.{i}", "axb")  # a dot is a dot


def test_fits_looks_at_names_and_sizes_only(published):
    with torch.device("meta"):
        network = Network()
    assert fits(published, TABLE, network)
    published["stem.bias"] = torch.full((3,), float("nan"))
    assert fits(published, TABLE, network)
    assert not fits({**published, "stem.bias": torch.zeros(4)}, TABLE, network)
    assert not fits({**published, "head.weight": torch.zeros(1)}, TABLE, network)
    del published["stem.bias"], published["copy.bias"]
    assert not fits(published, TABLE, network)


def test_an_alias_of_another_size_asks_for_no_memory():
    """Strides of zero let a few bytes stand for terabytes."""
    state = {"stem.weight": torch.zeros(1).expand(10**13), "copy.weight": torch.zeros(2, dtype=torch.float16)}
    with pytest.raises(CheckpointError, match=r"copy\.weight: must equal stem\.weight, but does not"):
        convert(state, TABLE, Network(), "net.pth")
