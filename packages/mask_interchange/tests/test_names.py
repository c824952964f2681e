"""Names from data never leave their folder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mask_interchange import DataNameError, MaskError, check_name, natural_key
from mask_interchange.names import file_key
from mask_interchange.track import check_unique


@pytest.mark.parametrize(
    "name", ["dog", "0", "00000", "a b", "größe", "x.y", "x..y", "CONSOLE", "犬", "a" * 200, "é" * 100]
)
def test_good_names(name):
    assert check_name("video", name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        (".", "begins with a dot"),
        ("..", "begins with a dot"),
        (".lock", "begins with a dot"),
        ("a/b", "contains '/'"),
        ("what?", r"contains '\?'"),
        ("x.", "ends with a dot or a blank"),
        ("x ", "ends with a dot or a blank"),
        ("CON", "device on Windows"),
        ("nul.txt", "device on Windows"),
        ("NUL .txt", "device on Windows"),
        ("com¹", "device on Windows"),
        ("CONOUT$", "device on Windows"),
        ("x/../../etc/passwd", "contains '/'"),
        ("/etc", "contains '/'"),
        ("a\\b", r"contains '\\\\'"),
        ("C:x", "contains ':'"),
        ("a\0b", "contains"),
        ("a\nb", "contains"),
        ("a\x7f", "contains"),
        ("a\x85", "contains"),
        ("\ud800", "not valid Unicode"),
        ("a" * 201, "201 bytes, more than 200"),
        ("é" * 101, "202 bytes"),
        (None, "expected text, found NoneType"),
        (7, "expected text, found int"),
    ],
)
def test_bad_names(name, reason):
    with pytest.raises(DataNameError, match=reason) as caught:
        check_name("frame", name)
    assert str(caught.value).startswith("frame id")


@pytest.mark.parametrize(("one", "other"), [("Dog", "dog"), ("é", "e\u0301"), ("É", "e\u0301"), ("Straße", "STRASSE")])
def test_names_that_are_one_file_name_on_some_systems(one, other):
    assert file_key(one) == file_key(other)
    with pytest.raises(MaskError, match="one file name on some systems"):
        check_unique("frame", (one, other))


@given(st.text())
def test_an_accepted_name_is_one_part_of_a_path(tmp_path_factory, name):
    try:
        check_name("video", name)
    except DataNameError:
        return
    folder = tmp_path_factory.getbasetemp()
    path = folder / f"{name}.masks"
    path.touch()
    assert path.resolve().parent == folder.resolve()
    path.unlink()


def test_natural_order():
    names = ["f10", "f2", "f1", "10", "9", "a", "f02", "f2b"]
    backwards = names[::-1]
    assert [natural_key(n) for n in sorted(names, key=natural_key)] == sorted(map(natural_key, backwards))


@given(st.lists(st.text(max_size=8)))
def test_natural_order_is_defined_for_all(names):
    backwards = names[::-1]
    assert [natural_key(n) for n in sorted(names, key=natural_key)] == sorted(map(natural_key, backwards))
