"""Names on an index."""

from importlib.metadata import PackageNotFoundError

import pytest
from program_kit import distributions
from program_kit.distributions import published_name, version_of


def test_published_names():
    assert [published_name(name) for name in ("soc", "rvos-layers")] == ["rvos-soc", "rvos-layers"]


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ({"soc": "0.1"}, "0.1"),
        ({"rvos-soc": "0.2"}, "0.2"),
        ({"rvos-soc": "0.2", "soc": "9.9"}, "0.2"),  # a foreign package of the name
    ],
)
def test_a_version_is_found_under_either_name(installed, expected, monkeypatch):
    def version(name):
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(distributions, "version", version)
    assert version_of("soc") == expected
    with pytest.raises(PackageNotFoundError):
        version_of("cutie")
