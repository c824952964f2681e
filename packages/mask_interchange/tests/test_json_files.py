"""JSON that nobody vouches for: a value, or one kind of error."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mask_interchange import DatasetError
from mask_interchange.json_files import MAX_DEPTH, parse_json, read_json

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text('[]{}"\\\\a\n', max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\\\', max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(json_values, st.sampled_from([None, 1]))
def test_what_json_can_say_is_read(value, indent):
    assert parse_json(json.dumps(value, indent=indent)) == value


@given(st.text('[]{}",:\\\\1e-.truefalsn \n', max_size=30))
def test_any_text_is_a_value_or_a_value_error(text):
    try:
        found = parse_json(text)
    except ValueError:
        return
    assert parse_json(json.dumps(found)) == found or found != found


def nested(depth: int) -> dict[str, str]:
    """Texts whose innermost value is at a depth."""
    return {
        "lists": "[" * depth + "]" * depth,
        "objects": '{"a":' * depth + "1" + "}" * depth,
        "with lists before": "[[]," * depth + "0" + "]" * depth,
        "with text before": '["]]", ' * depth + "0" + "]" * depth,
        "with quotes before": '["\\"]", ' * depth + "0" + "]" * depth,
    }


@pytest.mark.parametrize("kind", nested(1))
@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 900, 100_000])
def test_deep_nesting_is_refused(tmp_path, kind, depth):
    """Python's own reader follows up to about a thousand levels; what handles the value later then fails."""
    parse_json(nested(MAX_DEPTH - 1)[kind])
    path = tmp_path / "deep.json"
    path.write_text(nested(depth)[kind])
    with pytest.raises(DatasetError, match=r"deep\.json: expected at most 64 lists and objects inside each other"):
        read_json(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON: Expecting value at line 1, column 1"),
        ('{"a": 1,\n "a": 2}', "the key 'a' occurs twice"),
        ("9" * 5000, "at most 4300 digits, found 99999999999999999999... with 5000"),
        ('"' * 3, "not JSON"),
        ('["' + '\\"' * 100_000, "not JSON"),
        ("]" * 100_000, "not JSON"),
    ],
)
def test_faults_are_said(text, words):
    with pytest.raises(ValueError, match=words):
        parse_json(text)
