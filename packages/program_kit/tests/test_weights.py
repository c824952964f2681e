"""The rule for weights, the user's folder and the table."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from program_kit.errors import WeightsError
from program_kit.weights import BundledWeights, TakesWeights, choose_network
from program_kit.weights_folder import StoredFile, WeightsRecord, combined_sha256, folder_of, stored, weights_folder
from program_kit.weights_table import HubSource, needs_of, published, published_weights, users_of

COMMIT = "0123456789" * 4
SOC = TakesWeights(name="soc-infer", configs=("joint-base", "tiny"))
SAM2 = TakesWeights(name="sam2-propagate", configs=("sam2.1-base-plus", "sam2.1-tiny"), checkpoint="folder")
TWO = TakesWeights(name="two-infer", configs=("base",), checkpoint="folder", networks=("detector", "segmenter"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RVOS_WEIGHTS", str(tmp_path / "user"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "user"


def store(name: str, **files: bytes) -> Path:
    """Weights in the user's folder as `fusion-core weights` leaves them; `_` in a name is a dot."""
    place = folder_of(name)
    place.mkdir(parents=True)
    contents = {file.replace("_", "."): content for file, content in files.items()}
    for file, content in contents.items():
        (place / file).write_bytes(content)
    known = {file: StoredFile(size=len(c), sha256=hashlib.sha256(c).hexdigest()) for file, c in contents.items()}
    only = next(iter(contents)) if len(contents) == 1 else None
    WeightsRecord(source="somewhere", files=known, loads=only).write(place)
    return place / only if only else place


def test_the_folder_is_named_by_a_variable_or_by_the_system(folder, monkeypatch):
    assert weights_folder() == folder
    monkeypatch.delenv("RVOS_WEIGHTS")
    for system, variable, place in (
        ("linux", "XDG_DATA_HOME", folder / "rvos-fusion" / "weights"),
        ("linux", "HOME", folder / ".local" / "share" / "rvos-fusion" / "weights"),
        ("darwin", "HOME", folder / "Library" / "Application Support" / "rvos-fusion" / "weights"),
        ("win32", "LOCALAPPDATA", folder / "rvos-fusion" / "weights"),
    ):
        with monkeypatch.context() as patch:
            patch.delenv("XDG_DATA_HOME", raising=False)
            patch.setattr("sys.platform", system)
            patch.setenv(variable, str(folder))
            assert weights_folder() == place


def test_published_weights_are_found_without_options():
    with pytest.raises(WeightsError, match="`uv run fusion-core weights fetch soc` fetches"):
        choose_network(SOC)
    path = store("soc", joint_tar=b"weights")
    config, choice = choose_network(SOC)
    assert (config, choice.checkpoint, choice.bundled) == ("joint-base", path, False)
    assert choice.sha256() == hashlib.sha256(b"weights").hexdigest()
    assert choice.settings == {}
    assert choose_network(SOC, weights="soc") == choose_network(SOC, "joint-base") == (config, choice)


def test_without_weights_one_message_says_what_to_fetch_and_how_to_try():
    config = "grounding-dino-base_sam2.1-base-plus"
    program = TakesWeights(name="grounded-sam2-infer", configs=(config, "tiny"), networks=("detector", "segmenter"))
    with pytest.raises(WeightsError) as caught:
        choose_network(program)
    message = str(caught.value)
    assert "`uv run fusion-core weights fetch grounding-dino-base sam2.1-base-plus`" in message
    assert "(grounding-dino-base: 933 MB, Apache-2.0; sam2.1-base-plus: 323 MB, Apache-2.0)" in message
    assert "--weights random:0 --config tiny" in message


def test_published_weights_come_before_bundled_ones_unless_these_are_asked_for(tmp_path):
    bundled = BundledWeights(path=tmp_path / "demo.safetensors", config="tiny")
    bundled.path.write_bytes(b"demo")
    program = TakesWeights(name="soc-infer", configs=("joint-base", "tiny"), bundled=(bundled,))
    assert choose_network(program)[0] == "tiny"
    store("soc", joint_tar=b"weights")
    assert choose_network(program)[0] == "joint-base"
    for arguments in ({"weights": "bundled"}, {"config": "tiny"}):
        config, choice = choose_network(program, **arguments)
        assert (config, choice.checkpoint, choice.bundled) == ("tiny", bundled.path, True)
    with pytest.raises(WeightsError, match="soc-infer ships no weights"):
        choose_network(SOC, weights="bundled")


def test_half_a_file_is_not_there():
    path = store("soc", joint_tar=b"weights")
    path.write_bytes(b"weig")
    assert stored("soc") is None
    with pytest.raises(WeightsError, match=r"weights soc: not in .*user/soc; .* fetch soc` .* add soc PATH`"):
        choose_network(SOC, weights="soc")
    path.unlink()
    assert stored("soc") is None


def test_the_configuration_follows_from_the_name():
    tiny, base = (
        store(name, model_safetensors=b"tensors", config_json=b"{}") for name in ("sam2.1-tiny", "sam2.1-base-plus")
    )
    assert choose_network(SAM2, weights="sam2.1-tiny")[0] == "sam2.1-tiny"
    assert choose_network(SAM2)[1].checkpoint == base
    assert choose_network(SAM2, "sam2.1-tiny")[1].checkpoint == tiny
    with pytest.raises(
        WeightsError, match=r"not the weights of sam2-propagate, config sam2\.1-base-plus; it takes sam2\.1-tiny"
    ):
        choose_network(SAM2, "sam2.1-base-plus", weights="sam2.1-tiny")


def test_every_file_of_a_folder_is_recorded():
    store("sam2.1-tiny", model_safetensors=b"tensors", config_json=b"{}")
    choice = choose_network(SAM2, weights="sam2.1-tiny")[1]
    hashes = {
        "config.json": hashlib.sha256(b"{}").hexdigest(),
        "model.safetensors": hashlib.sha256(b"tensors").hexdigest(),
    }
    assert choice.settings == {"weights_files": hashes}
    listed = "".join(f"{sha256}  {name}\n" for name, sha256 in hashes.items())
    assert choice.sha256() == combined_sha256(hashes) == hashlib.sha256(listed.encode()).hexdigest()


def test_the_hash_of_several_files_is_that_of_what_sha256sum_prints(tmp_path):
    (tmp_path / "b").write_bytes(b"1")
    (tmp_path / "a").write_bytes(b"2")
    printed = subprocess.run(["sha256sum", "a", "b"], cwd=tmp_path, capture_output=True, check=True).stdout
    hashes = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("b", "a")}
    assert combined_sha256(hashes) == hashlib.sha256(printed).hexdigest()


def test_several_networks_are_a_folder_of_folders(tmp_path):
    for network in ("detector", "segmenter"):
        with pytest.raises(WeightsError, match="no such folder"):
            choose_network(TWO, checkpoint=tmp_path / "both")
        (tmp_path / "both" / network).mkdir(parents=True)
        (tmp_path / "both" / network / "model.safetensors").write_bytes(network.encode())
    choice = choose_network(TWO, checkpoint=tmp_path / "both")[1]
    assert choice.paths == {network: tmp_path / "both" / network for network in ("detector", "segmenter")}
    assert set(choice.hashes) == {"detector/model.safetensors", "segmenter/model.safetensors"}


def test_a_commit_on_the_hub_is_found_in_the_folder_or_in_the_cache_of_the_hub(tmp_path):
    name = f"hub:owner/name@{COMMIT}"
    with pytest.raises(WeightsError, match=rf"owner--name@{COMMIT}; `uv run fusion-core weights fetch {name}`"):
        choose_network(SAM2, weights=name)
    snapshot = tmp_path / "cache" / "models--owner--name" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"tensors")
    assert choose_network(SAM2, "sam2.1-tiny", weights=name)[1].checkpoint == snapshot
    ours = store(name, model_safetensors=b"tensors", config_json=b"{}")
    assert choose_network(SAM2, weights=name)[1].checkpoint == ours
    with pytest.raises(WeightsError, match="loads detector and segmenter; give 2 with commas"):
        choose_network(TWO, weights=name)
    assert set(choose_network(TWO, weights=f"{name},{name}")[1].paths) == {"detector", "segmenter"}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("sam2.1-tiney", "none of that name; did you mean sam2.1-tiny"),
        ("soc", "not the weights of sam2-propagate; it takes"),
        ("hub:facebook/sam2.1-hiera-tiny", "40 hexadecimal digits after @, found none"),
        ("hub:facebook/sam2.1-hiera-tiny@main", "found main; what a branch names may change"),
        ("hub:sam2", "expected hub:OWNER/NAME@COMMIT"),
        ("hub:../..@" + COMMIT, "expected hub:OWNER/NAME@COMMIT"),
        ("random:x", "expected random:SEED"),
    ],
)
def test_weights_that_cannot_be(weights, words):
    with pytest.raises(WeightsError) as caught:
        choose_network(SAM2, weights=weights)
    assert words in str(caught.value)


def test_a_program_that_brings_its_own_weights_takes_no_others(tmp_path):
    program = TakesWeights(name="theirs-infer", configs=("base",), own_weights=True)
    config, choice = choose_network(program)
    assert (config, choice.checkpoint, choice.sha256(), choice.settings) == ("base", None, None, {})
    assert str(choice) == "the program's own"
    for others in ({"checkpoint": tmp_path}, {"weights": "random:0"}):
        with pytest.raises(WeightsError, match="theirs-infer brings its own weights"):
            choose_network(program, **others)


def test_the_table_is_sound():
    programs = {program for name in published_weights() for program, _ in users_of(name)}
    for weights in published_weights().values():
        assert sum(place is not None for place in (weights.hub, weights.url, weights.page)) == 1
        assert weights.licence
        assert weights.is_folder == (weights.hub is not None)
        if weights.hub:
            assert str(HubSource.parse(weights.source)) == weights.source
        for file in weights.files:
            assert file.sha256 is None or len(file.sha256) == 64
    for program in programs:
        for needs in needs_of(program).values():
            assert all(published(name) for name in needs.names)
