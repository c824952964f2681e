import hashlib
import math

import numpy as np
import pytest
from golden_cases import draw, find_cases, published_weights


def test_rules_follow_the_name_and_rank():
    entries = [
        ["a.weight", [3, 4, 5], "float32", None],
        ["a.bias", [3], "float32", None],
        ["norm.weight", [3], "float32", None],
        ["bn.running_var", [3], "float32", None],
        ["bn.running_mean", [3], "float32", None],
        ["index", [2, 2], "int64", None],
        ["twin.bias", [3], "float32", "a.bias"],
    ]
    weights = published_weights(entries, {}, {})
    assert set(weights) == {e[0] for e in entries} - {"index"}
    np.testing.assert_allclose(weights["a.weight"], draw("a.weight", [3, 4, 5]) / math.sqrt(20), rtol=1e-6)
    np.testing.assert_array_equal(weights["a.bias"], np.float32(0.05) * draw("a.bias", [3]))
    assert np.all(weights["bn.running_var"] >= 1)
    assert weights["twin.bias"] is weights["a.bias"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("z", lambda z: z),
        ("-z / sqrt(prod(shape[1:]))", lambda z: -z / math.sqrt(12)),
        ("1 + 0.1*z", lambda z: 1 + 0.1 * z),
        ("scale:2", lambda z: 2 * z / math.sqrt(12)),
        ({"mul": 3.0}, lambda z: 3 * z / math.sqrt(12)),
    ],
)
def test_overrides(rule, expected):
    weights = published_weights([["q.weight", [2, 3, 4], "float32", None]], {"^q": rule}, {})
    np.testing.assert_allclose(weights["q.weight"], expected(draw("q.weight", [2, 3, 4])), rtol=1e-6)


@pytest.mark.parametrize("rule", ["__import__('os')", "z.tobytes()", "shape[0]", "open(z)"])
def test_formulas_are_only_arithmetic(rule):
    with pytest.raises(ValueError, match="cannot evaluate"):
        published_weights([["q.weight", [2, 3], "float32", None]], {"^q": rule}, {})


def test_weights_have_the_recorded_hashes():
    checked = 0
    for case in find_cases("msda_ops", kinds={"module"}):
        for group, facts in case.manifest["checks"].items():
            for name, digest in facts.get("weight_sha256_16", {}).items():
                data = case.weights(group)[name]
                assert hashlib.sha256(np.ascontiguousarray(data).tobytes()).hexdigest()[:16] == digest, name
                checked += 1
    if not checked:
        pytest.skip("set RVOS_GOLDENS to a folder with msda_ops cases")
