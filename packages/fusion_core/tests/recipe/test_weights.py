"""Which weights the models of a recipe get."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from fusion_core.errors import RecipeError
from fusion_core.recipe.graph import Model
from fusion_core.recipe.published import ICCV2023, RECIPES
from fusion_core.recipe.weights import named_checkpoints, stored_checkpoints, weights_choice, with_weights
from program_kit.errors import WeightsError
from program_kit.weights_folder import StoredFile, WeightsRecord, folder_of


def of(recipe):
    return {model.name: model.checkpoint or model.weights for model in recipe.models}


def test_a_file_by_name_comes_before_random_weights(tmp_path):
    path = tmp_path / "a.tar"
    path.touch()
    weights = of(with_weights(ICCV2023, {"soc": path}, "random:3"))
    assert weights == dict.fromkeys(weights, "random:3") | {"soc": path}
    assert set(of(with_weights(ICCV2023, {}, None)).values()) == {None}


def test_a_recipe_s_own_weights_stay_unless_a_file_is_given(tmp_path):
    path = tmp_path / "a.tar"
    path.touch()
    weights = of(with_weights(RECIPES["demo"], {"aot": path}, "random:3"))
    assert weights == dict.fromkeys(weights, "own") | {"aot": path}


def test_a_missing_file_and_an_unknown_model_are_named(tmp_path):
    with pytest.raises(RecipeError, match=r"model 'soc': no such checkpoint: .*none.tar"):
        with_weights(ICCV2023, {"soc": tmp_path / "none.tar"})
    with pytest.raises(RecipeError, match="has the models soc, mutr, referformer, vit_huge, convnext, aot, deaot"):
        with_weights(ICCV2023, {"sock": tmp_path})


def test_options_name_files():
    assert named_checkpoints(["soc=a=b.tar", "aot=x"]) == {"soc": Path("a=b.tar"), "aot": Path("x")}
    for wrong in ("soc", "=x", "soc="):
        with pytest.raises(RecipeError, match="expected MODEL=PATH"):
            named_checkpoints([wrong])
    with pytest.raises(RecipeError, match="'soc' has a already"):
        named_checkpoints(["soc=a", "soc=b"])


def test_a_folder_holds_files_named_after_models(tmp_path):
    for name in ("soc.tar", "vit_huge.safetensors", "notes.txt", "soc_old.tar"):
        (tmp_path / name).touch()
    with pytest.raises(RecipeError, match="none: expected a folder of weights or a TOML file"):
        stored_checkpoints(tmp_path / "none", ICCV2023)
    found = stored_checkpoints(tmp_path, ICCV2023)
    assert found == {"soc": tmp_path / "soc.tar", "vit_huge": tmp_path / "vit_huge.safetensors"}
    (tmp_path / "soc.pth").touch()
    with pytest.raises(RecipeError, match=r"soc.pth and soc.tar are both for the model 'soc'"):
        stored_checkpoints(tmp_path, ICCV2023)


def test_a_toml_file_names_files_from_its_own_folder(tmp_path):
    file = tmp_path / "weights.toml"
    file.write_text('soc = "sub/joint.tar"\n\naot = "/opt/aot.pth"\n')
    assert stored_checkpoints(file, ICCV2023) == {
        "soc": tmp_path / "sub" / "joint.tar",
        "aot": Path("/opt/aot.pth"),
    }
    file.write_text('soc = "a"\nsock = "b"\n')
    with pytest.raises(RecipeError, match=r"weights.toml, line 2: sock: recipe 'iccv2023' has no model of that name"):
        stored_checkpoints(file, ICCV2023)
    file.write_text("soc = 1\n")
    with pytest.raises(RecipeError, match=r"weights.toml, line 1: soc: expected the path of a checkpoint, found 1"):
        stored_checkpoints(file, ICCV2023)


@pytest.fixture
def soc(tmp_path, monkeypatch) -> Path:
    """The weights of SOC in the user's folder, as `uv run fusion-core weights add` leaves them."""
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path / "user"))
    folder = folder_of("soc")
    folder.mkdir(parents=True)
    (folder / "joint_base.tar").write_bytes(b"weights")
    known = StoredFile(size=7, sha256=hashlib.sha256(b"weights").hexdigest())
    WeightsRecord(source="elsewhere", files={"joint_base.tar": known}, loads="joint_base.tar").write(folder)
    return folder / "joint_base.tar"


def test_published_weights_are_found_in_the_user_s_folder_unless_others_are_asked_for(soc):
    weights = of(with_weights(ICCV2023, {}, None))
    assert weights == dict.fromkeys(weights) | {"soc": "soc"}
    assert set(of(with_weights(ICCV2023, {}, "random:0")).values()) == {"random:0"}
    assert of(with_weights(RECIPES["demo"], {}, None))["soc"] == "own"


def test_the_same_bytes_by_name_or_by_path_are_the_same_weights(soc):
    model = next(model for model in ICCV2023.models if model.name == "soc")
    by_name, by_path = (replace(model, **given) for given in ({"weights": "soc"}, {"checkpoint": soc}))
    assert (
        weights_choice(by_name).sha256() == weights_choice(by_path).sha256() == hashlib.sha256(b"weights").hexdigest()
    )
    assert weights_choice(replace(model, weights="own")).paths == {"model": soc}, (
        "its program takes them without options"
    )
    assert not weights_choice(replace(model, weights="bundled")).paths


def test_names_that_are_not_there_or_do_not_exist_are_errors(soc):
    model = Model(name="m", program=("mutr-infer",), weights="mutr")
    with pytest.raises(WeightsError, match="`uv run fusion-core weights fetch mutr`"):
        with_weights(replace(ICCV2023, models=(model, *ICCV2023.models)), {})
    with pytest.raises(RecipeError, match=r"model 'm': weights 'mutre': .* did you mean mutr.*; or 'own'"):
        Model(name="m", program=("mutr-infer",), weights="mutre")
    with pytest.raises(WeightsError, match="expected random:SEED"):
        with_weights(ICCV2023, {}, "random")
