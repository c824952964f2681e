"""Recipes of users: what a file may say, and the line that an error names."""

from pathlib import Path

import pytest
from fusion_core.cli import app
from fusion_core.errors import RecipeError
from fusion_core.recipe.graph import AblationStep, Model
from fusion_core.recipe.named import find_recipe, named_recipes
from fusion_core.recipe.nodes import ExistingRun, Pairing, Predict, Propagate, Vote
from fusion_core.recipe.published import ICCV2023
from fusion_core.recipe.toml import read_recipe, recipe_as_toml
from fusion_core.recipe.toml_file import read_toml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

WHOLE = """\
name = "mine"
result = "final"
faithful = true

[model.soc]
program = "soc-infer"
options = { config = "tiny", "short_side" = 64 }
weights = "random:0"
memory = 2

[model.other]
program = ["bin/other", "--fast"]
checkpoint = "weights/other.pth"

[predict.soc]
model = "soc"

[predict.wide]
model = "soc"
options.short_side = 128

[propagate.carried]
model = "other"
source = "soc"

[run."old one"]
path = "../runs/old"

[vote.final]
members = ["soc", "wide",
           "carried", "old one"]
threshold = 2
pairing = "none"
leftover = "first"

[ablation."+ vote"]
runs = ["final"]
published = { final = 75.7 }
"""


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_a_file_says_all_that_a_recipe_can_hold(tmp_path):
    recipe = read_recipe(written(tmp_path, WHOLE))
    assert (recipe.name, recipe.result, recipe.faithful) == ("mine", "final", True)
    assert recipe.models == (
        Model(
            name="soc",
            program=("soc-infer",),
            options={"config": "tiny", "short_side": 64},
            weights="random:0",
            memory=2.0,
        ),
        Model(
            name="other",
            program=(str(tmp_path / "bin" / "other"), "--fast"),
            checkpoint=tmp_path / "weights" / "other.pth",
        ),
    )
    assert {node.name: node for node in recipe.nodes} == {
        "soc": Predict(name="soc", model="soc"),
        "wide": Predict(name="wide", model="soc", options={"short_side": 128}),
        "carried": Propagate(name="carried", model="other", source="soc"),
        "old one": ExistingRun(name="old one", path=tmp_path / "../runs/old"),
        "final": Vote(
            name="final",
            members=("soc", "wide", "carried", "old one"),
            threshold=2,
            out_of=4,
            leftover="first",
            pairing=Pairing.NONE,
        ),
    }
    assert recipe.ablation == (AblationStep(label="+ vote", runs=("final",), published={"final": 75.7}),)


def test_votes_of_a_pair_are_counted_unless_told_otherwise(tmp_path):
    text = 'result = "v"\n[run.a]\npath = "a"\n[vote.v]\nmembers = ["a"]\nthreshold = 1\n'
    assert read_recipe(written(tmp_path, text)).node("v").out_of == 2
    assert read_recipe(written(tmp_path, text + "out_of = 7\n")).node("v").out_of == 7


@pytest.mark.parametrize(
    ("old", "new", "at", "message"),
    [
        (
            'source = "soc"',
            'sauce = "soc"',
            "[propagate.carried]",
            "propagate.carried: the key 'source' is missing; expected text",
        ),
        ("memory = 2", "memmory = 2", "memmory = 2", "model.soc.memmory: there is no such key here"),
        (
            '"short_side" = 64',
            '"short_side" = [64]',
            "options = {",
            "model.soc.options.short_side: expected text, a number",
        ),
        (
            "options.short_side = 128",
            "options.short_side = [1]",
            "options.short_side",
            "predict.wide.options.short_side: expected text",
        ),
        (
            'model = "soc"',
            'model = "sock"',
            'model = "sock"',
            "needs the model 'sock', but there are only 'soc', 'other'",
        ),
        ('source = "soc"', 'source = "sock"', 'source = "sock"', "'carried' needs the run 'sock', which no node makes"),
        ('source = "soc"', 'source = "final"', "[vote.final]", "wait for each other: final -> carried -> final"),
        (
            '"carried", "old one"]',
            '"carried", "new one"]',
            "members = [",
            "needs the run 'new one', which no node makes",
        ),
        ("threshold = 2", "threshold = 5", "threshold = ", "the threshold must lie between 1 and the 4 votes"),
        ("threshold = 2", "threshold = true", "threshold = ", "expected a number of votes out of 4, found True"),
        (
            'pairing = "none"',
            'pairing = "nun"',
            'pairing = "nun"',
            "expected one of auto, consecutive, groups, none, agreement, found 'nun'",
        ),
        (
            'leftover = "first"',
            'leftover = "last"',
            'leftover = "last"',
            "expected 'first' or a number of votes, found 'last'",
        ),
        ('runs = ["final"]', 'runs = ["finale"]', "[ablation", "ablation '+ vote': 'finale' is not a run"),
        ("final = 75.7", 'final = "75.7"', "published", "ablation.+ vote.published.final: expected a score in percent"),
        ('result = "final"', 'result = "end"', 'result = "end"', "the result 'end' is not one of its runs"),
        ("[run.", "[predict.soc2]\nmodel = 1\n[run.", "model = 1", "predict.soc2.model: expected text, found 1"),
        ("[run.", "[runs.", "[runs.", "runs: there is no such key here"),
        ('weights = "random:0"', 'weights = "random:0"\ncheckpoint = "a"', "weights = ", "give one of the two"),
        (
            '[run."old one"]',
            '[run.carried]\npath = "x"\n[run."old one"]',
            "[propagate.carried]",
            "two nodes write the run 'carried'",
        ),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path, old, new, at, message):
    text = WHOLE.replace(old, new, 1)
    line = next(number for number, line in enumerate(text.splitlines(), start=1) if line.startswith(at))
    path = written(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert message in str(caught.value)


def test_faulty_toml_is_told_with_line_and_column(tmp_path):
    with pytest.raises(RecipeError, match=r"mine.toml: not a TOML file: .*line 2, column 10"):
        read_recipe(written(tmp_path, 'name = "a"\nresult = \n'))
    path = tmp_path / "latin.toml"
    path.write_bytes(b'name = "\xe9"')
    with pytest.raises(RecipeError, match=r"latin.toml: not a TOML file: .*utf-8"):
        read_recipe(path)


def test_a_missing_and_an_endless_file_are_errors(tmp_path):
    with pytest.raises(RecipeError, match=r"none.toml: cannot be read: No such file"):
        find_recipe(str(tmp_path / "none.toml"))
    with pytest.raises(RecipeError, match="not a regular file"):
        read_recipe(Path("/dev/zero"))
    with pytest.raises(RecipeError, match="at most 262144 bytes"):
        read_toml(written(tmp_path, "#" * (2**18 + 1)))


def parts(recipe):
    nodes = {node.name: node for node in recipe.nodes}
    return recipe.name, recipe.result, recipe.faithful, recipe.models, nodes, recipe.ablation


@pytest.mark.parametrize(("name", "recipe"), named_recipes().items(), ids=named_recipes())
def test_a_recipe_as_a_file_is_the_same_recipe(tmp_path, name, recipe):
    assert recipe.name == name
    assert parts(read_recipe(written(tmp_path, recipe_as_toml(recipe)))) == parts(recipe)


def test_a_file_written_again_is_the_same_recipe(tmp_path):
    recipe = read_recipe(written(tmp_path, WHOLE))
    again = read_recipe(written(tmp_path, recipe_as_toml(recipe)))
    assert parts(again) == parts(recipe)
    result = CliRunner().invoke(app, ["recipe", "iccv2023"])
    assert result.stdout == recipe_as_toml(ICCV2023)


def test_recipes_have_names():
    assert find_recipe("iccv2023") is ICCV2023
    with pytest.raises(RecipeError, match="no recipe 'iccv2032': give iccv2023, iccv2023-faithful, demo, modern, or"):
        find_recipe("iccv2032")


keys = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=8)


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(st.tuples(keys, keys), min_size=1, max_size=6, unique=True), st.integers(0, 3))
def test_lines_of_keys_are_those_of_the_text(tmp_path_factory, pairs, space):
    lines, expected = [], {}
    tables = dict.fromkeys(table for table, _ in pairs)
    for table in tables:
        lines += ["# a comment"] * space
        lines.append(f"[{quoted(table)}] # with one")
        expected[table,] = len(lines)
        for key in (key for of, key in pairs if of == table):
            lines.append(f"{quoted(key)} = [1,")
            expected[table, key] = len(lines)
            lines.append("  2]")
    path = tmp_path_factory.mktemp("toml") / "drawn.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read_toml(path).lines == expected


DOTS = ".a" * 100_000


@pytest.mark.parametrize(
    "text",
    [
        f"a{DOTS} = 1",
        '"a"' + '."a"' * 50_000 + " = 1",
        "[a" + " . a" * 50_000 + "]",
        f"x = {{ a{DOTS} = 1 }}",
        f"a{DOTS}",
        f'b = "\\" #"\nc = """"\\\n"""\na{DOTS} = 1',
    ],
)
def test_keys_of_many_parts(tmp_path, text):
    """tomllib takes a time that grows with the square of their number: 20 s here, hours for a file at its limit."""
    with pytest.raises(RecipeError, match=r"mine\.toml: .*expected keys of at most 16 parts.*at line [14]"):
        read_toml(written(tmp_path, text))


def test_dots_that_are_no_key(tmp_path):
    dots = "x" + ".x" * 50
    text = f'# {dots}\na = "{dots}"\nb = \'{dots}\'\nc = \'\'\'\n{dots} = 1\n\'\'\'\nd = """\n\\"""\n{dots}"""""\n'
    values = read_toml(written(tmp_path, text + "e" + ".e" * 15 + " = 1")).values
    assert [values["a"], values["b"], values["c"]] == [dots, dots, f"{dots} = 1\n"]
    assert values["d"] == f'"""\n{dots}""'


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, "0x" + "F" * 5000, "9" * 5000, str(2**63)])
def test_numbers_beyond_64_bits(tmp_path, number):
    for key in ("memory", "options.short_side"):
        text = f'result = "a"\n[model.m]\nprogram = "p"\n{key} = {number}\n[predict.a]\nmodel = "m"\n'
        with pytest.raises(RecipeError, match=r"mine\.toml: not a TOML file: .*(64 bits|4300 digits)"):
            find_recipe(str(written(tmp_path, text)))


@pytest.mark.parametrize("memory", ["inf", "nan", "1e300", "0", "-1"])
def test_memory_is_a_sensible_number(tmp_path, memory):
    text = f'result = "a"\n[model.m]\nprogram = "p"\nmemory = {memory}\n[predict.a]\nmodel = "m"\n'
    with pytest.raises(RecipeError, match=r"line 4: .*memory must be a positive number of GiB below"):
        find_recipe(str(written(tmp_path, text)))


def test_the_rounds_of_a_long_recipe(tmp_path):
    """Each vote reads the two before it: to follow every path would take 2^2000 steps."""
    votes = "".join(
        f'[vote.v{i}]\nmembers = ["v{i - 1}", "v{i - 2}"]\nthreshold = 2\npairing = "none"\n' for i in range(2, 2000)
    )
    text = f'result = "v1999"\n[run.v0]\npath = "x"\n[run.v1]\npath = "y"\n{votes}'
    recipe = find_recipe(str(written(tmp_path, text)))
    assert [len(stage) for stage in recipe.stages] == [1998]


@pytest.mark.parametrize("text", [r'a = "x\u0000y"', r'"a\u0000" = 1', r'a = [["\U00000000"]]'])
def test_text_that_no_program_takes(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"mine\.toml: not a TOML file: expected text without NUL"):
        read_toml(path)
