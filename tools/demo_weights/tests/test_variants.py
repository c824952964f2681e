"""Networks that are one of several of a program, and stages that start from another model's."""

import json
from importlib import import_module
from importlib.util import find_spec

import pytest

if find_spec("uninext") is None:
    pytest.skip("uninext is not installed beside this tool", allow_module_level=True)

from demo_weights.shipping import LARGEST
from demo_weights.stages import SHIPPED, STAGES
from demo_weights.training import shipped
from demo_weights.variants import VARIANTS, Variant, variant
from rvos_layers.encoders.config import DEMO
from rvos_layers.encoders.tokenizer import BUNDLED_TOKENIZERS
from uninext.bundled import BUNDLED


def test_a_model_is_a_program_unless_it_is_a_variant():
    assert variant("soc") == Variant("soc", "demo")
    assert variant("uninext-vit") == Variant("uninext", "demo-vit")
    assert [one.config for one in VARIANTS.values()] == list(BUNDLED)


@pytest.mark.parametrize("model", list(VARIANTS))
def test_variants_fit_the_tokenizer_and_are_small_enough(model):
    chosen = variant(model)
    made = import_module(f"{chosen.package}.train.trainer").FACTORY.model
    words = len(json.loads((BUNDLED_TOKENIZERS[DEMO] / "vocab.json").read_text()))
    assert (made.configs[chosen.config].text.vocab_size, made.configs[chosen.config].text.tokenizer) == (words, DEMO)
    network = made.build_with_weights(chosen.config, None)
    assert 2 * sum(entry.numel() for entry in network.state_dict().values()) < LARGEST
    assert shipped(model) == BUNDLED[chosen.config]


def test_stages_start_from_stages_that_exist():
    named = [stage.init_from for stages in STAGES.values() for stage in stages if stage.init_from]
    assert named
    for origin in named:
        model, name = origin.split("/")
        assert name == SHIPPED or name in [stage.name for stage in STAGES[model]]
