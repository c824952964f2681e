"""Commands that need an extra."""

import sys
from types import SimpleNamespace

import pytest
from program_kit.extras import extra_command


def test_a_command_without_its_extra_says_what_to_install(capsys):
    main = extra_command("dog-train", "dog.train", package="dog", extra="train", needs="no_such_module")
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "dog-train: error: no_such_module is not installed; run `uv run --package dog --extra train dog-train ...`, "
        "or outside a checkout install rvos-dog[train]\n"
    )


def test_with_its_extra_it_runs(monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, "dog_train", SimpleNamespace(app=lambda: calls.append("run")))
    extra_command("dog-train", "dog_train", package="dog", extra="train", needs="pytest")()
    assert calls == ["run"]
