"""The recipe of today's models at miniature size with random weights, from frames to the vote."""

from dataclasses import replace

import numpy as np
from fusion_core.recipe.modern import modern
from fusion_core.recipe.toml import recipe_as_toml
from mask_interchange import MaskRun

from tests.drawn import OBJECTS, SENTENCES, draw_dataset
from tests.programs import programs

FUSION = programs("fusion-core")[0]


def tiny():
    """The recipe with networks that are no published ones; options other than the configuration stay."""
    recipe = modern()
    models = [
        replace(model, options={**model.options, "config": "tiny"}, weights=f"random:{number}", memory=1.0)
        for number, model in enumerate(recipe.models)
    ]
    return replace(recipe, models=tuple(models))


def test_sentences_become_masks_that_are_carried_and_voted(tmp_path, monkeypatch):
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path / "none"))
    recipe = tiny()
    (tmp_path / "tiny.toml").write_text(recipe_as_toml(recipe))
    dataset, runs = draw_dataset(tmp_path / "data"), tmp_path / "runs"
    done = FUSION.run("run", "--recipe", tmp_path / "tiny.toml", "--dataset", dataset, "--runs", runs)
    assert done.returncode == 0, done.stdout + done.stderr

    made = {node.name: MaskRun.open(runs / node.name) for node in recipe.nodes}
    for node in recipe.nodes[:-1]:
        assert made[node.name].manifest.producer == recipe.model(node).program[0]
    vote = recipe.node("final")
    for video in ("aa11", "bb22"):
        members = [made[name].read(video) for name in vote.members]
        for track in made["final"].read(video).tracks:
            pool = [key for key in SENTENCES if OBJECTS[key] == OBJECTS[track.expression.id]]
            votes = sum(one.track(key).stack().astype(int) for one in members for key in pool)
            np.testing.assert_array_equal(track.stack(), 2 * votes > len(members) * len(pool))
            assert track.key_frame == members[0].track(track.expression.id).key_frame
