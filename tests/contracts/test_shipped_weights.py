"""Weights that programs ship, of every kind of program."""

import pytest

from tests.programs import programs


@pytest.mark.parametrize("program", programs("-(infer|propagate)"), ids=str)
def test_shipped_weights_are_small_and_have_a_card(program):
    assert set(program.networks) == set(program.demos), "what it ships is what it declares"
    for path in program.networks.values():
        assert path.stat().st_size <= 4_000_000
        assert "J&F" in path.with_suffix(".md").read_text(encoding="utf-8")
