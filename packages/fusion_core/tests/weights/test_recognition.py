"""Files of the published weights are told from each other by the names of their tensors."""

import json
import os
from pathlib import Path

import pytest
from fusion_core.weights.store import _is_of
from program_kit.weights_table import published_weights

NAMED = {name: weights for name, weights in published_weights().items() if weights.tensors}
GOLDENS = {
    "soc": "soc/full",
    "mutr": "mutr/full",
    "referformer": "referformer/full",
    "uninext-vit-h": "uninext/full_vith",
    "uninext-convnext-l": "uninext/full_convnext",
    "aot": "aot_deaot/full_swinl_aotl",
    "deaot": "aot_deaot/full_swinl_deaotl",
}


def recognised(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    return [name for name, weights in NAMED.items() if _is_of(weights, shapes, None)]


@pytest.mark.parametrize("name", NAMED)
def test_the_names_of_the_table_tell_its_weights_apart(name):
    assert recognised({tensor.replace("*", "x"): shape for tensor, shape in NAMED[name].tensors.items()}) == [name]


@pytest.mark.parametrize("name", GOLDENS)
def test_the_tensors_of_published_networks_are_recognised(name):
    if "RVOS_GOLDENS" not in os.environ:
        pytest.skip("RVOS_GOLDENS names no folder of golden cases")
    manifest = json.loads((Path(os.environ["RVOS_GOLDENS"]) / f"{GOLDENS[name]}.manifest.json").read_bytes())
    assert recognised({tensor: tuple(shape) for tensor, shape, *_ in manifest["state_dict"]}) == [name]
