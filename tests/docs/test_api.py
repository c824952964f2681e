"""What is public: named in `__all__`, told on the page, and explained where it stands."""

import ast
import importlib.util
import re

import pytest

from tests.members import ROOT

spec = importlib.util.spec_from_file_location("api_page", ROOT / "tools" / "api_page.py")
api_page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(api_page)

PUBLIC = [module for module in api_page.sources() if api_page.public_names(module)]


def test_the_page_names_every_public_module():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    table = "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert sorted(re.findall(r"`([\w.]+)`", table)) == sorted(PUBLIC)


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_there_and_explained(module):
    for name in api_page.public_names(module):
        found = api_page.find(module, name)
        assert found is not None, name
        if isinstance(found[1], ast.ClassDef | ast.FunctionDef):
            assert ast.get_docstring(found[1]), name


def test_signatures_are_those_of_the_code():
    code = "def f(self, a: int, /, b=(1, 2), *more: str, c: float = 0.5, **rest) -> None: ..."
    node = ast.parse(code).body[0]
    assert api_page.signature(node) == ("def f(a: int, /, b=(1, 2), *more: str, c: float = 0.5, **rest) -> None")


def test_sections_of_docstrings_become_lists():
    text = "Say it.\n\nArgs:\n    a: one\n        and more.\n\nReturns:\n    Two lines\n    of text.\n"
    assert api_page.markdown(text).splitlines() == [
        "Say it.",
        "",
        "Args:",
        "",
        "- `a`: one",
        "  and more.",
        "",
        "Returns:",
        "",
        "Two lines",
        "of text.",
    ]


def test_inherited_methods_are_shown():
    home, node = api_page.find("soc", "SOCPredictor")
    assert {"load", "predict", "segment"} <= api_page.methods(home, node).keys()
