"""Windows where a video is too long for the memory."""

import os
from dataclasses import replace

import psutil
from fusion_core.recipe.published import DEMO, ICCV2023
from fusion_core.recipe.toml import read_recipe, recipe_as_toml
from fusion_core.recipe.windows import WINDOW, with_windows
from fusion_core.running.executors.local import memory_of


def windows(recipe):
    return {model.name: model.options["window"] for model in recipe.models if "window" in model.options}


def test_long_videos_get_windows_and_it_is_said():
    assert with_windows(ICCV2023, 100, 64.0) == (ICCV2023, [])
    recipe, said = with_windows(ICCV2023, 1000, 64.0)
    assert windows(recipe) == {"mutr": WINDOW, "referformer": WINDOW}
    assert said[0].startswith(
        "mutr takes the video in windows of 48 frames: 1000 frames at once would need about 59.7 GiB"
    )
    recipe, said = with_windows(ICCV2023, 10_000, 64.0)
    assert windows(recipe) == dict.fromkeys(("soc", "mutr", "referformer"), WINDOW)
    assert len(said) == 3
    assert with_windows(DEMO, 1000, 16.0) == (DEMO, [])


def test_short_videos_and_chosen_windows_stay():
    assert windows(with_windows(ICCV2023, WINDOW, 1.0)[0]) == {}
    chosen = replace(ICCV2023, models=tuple(replace(m, options={"window": 9}) for m in ICCV2023.models))
    assert with_windows(chosen, 10_000, 1.0) == (chosen, [])


def test_frame_memory_is_a_key_of_recipes(tmp_path):
    (tmp_path / "r.toml").write_text(recipe_as_toml(ICCV2023))
    assert read_recipe(tmp_path / "r.toml").models == ICCV2023.models


def test_the_memory_is_that_of_the_smallest_gpu(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\ncase "$1" in *memory*) echo 81920; echo 40960;; *) echo 0; echo 1;; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert memory_of("auto") == memory_of("cuda:1") == 40.0
    machine = psutil.virtual_memory().total / 2**30
    assert memory_of("cpu") == machine
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert memory_of("auto") == machine
