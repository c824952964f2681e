"""Which weights a program takes: files, published ones by name, random ones of a seed, or those bundled with it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from program_kit.errors import WeightsError
from program_kit.origin import Origin
from program_kit.weights_folder import cached_sha256, combined_sha256, folder_of, stored, weights_files
from program_kit.weights_table import HubSource, fetching, needs_of, published

CheckpointKind = Literal["file", "folder"]
BUNDLED = "bundled"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledWeights:
    """Small weights that a package ships, so that its program works before anything is downloaded.

    Attributes:
        path: the file.
        config: the configuration that they belong to.
        stands_for: the published configuration that this is a small version of. A user who asks for that one, and gives
            no weights, gets these. Only for packages that ship several.
        short_side: of the frames that they were trained on, in pixels; None for a program without the option.
    """

    path: Path
    config: str = "demo"
    stands_for: str | None = None
    short_side: int | None = None

    @property
    def available(self) -> bool:
        """Whether the file is there; a tool of its own makes it, after the program."""
        return self.path.is_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class TakesWeights:
    """What the rule for weights must know of a program.

    Attributes:
        name: of its command; the table of published weights lists what its configurations take by this name.
        configs: names of its configurations, the default first.
        bundled: the weights that its package ships, the default first; used when the user asks for none.
        checkpoint: whether the weights of a network are a file, or a folder with its configuration.
        networks: names of the networks that it loads. A checkpoint for several is a folder that holds a folder of each
            name.
        own_weights: the program brings weights in a way of its own, and takes no others.
    """

    name: str
    configs: tuple[str, ...]
    bundled: tuple[BundledWeights, ...] = ()
    checkpoint: CheckpointKind = "file"
    networks: tuple[str, ...] = ("model",)
    own_weights: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsChoice:
    """The weights to load: files, or random ones of a seed; neither for a program that brings its own.

    Attributes:
        paths: a file or folder for each network of the program.
        seed: of random weights.
        bundled: the file came with the program.
    """

    paths: Mapping[str, Path] = field(default_factory=dict)
    seed: int | None = None
    bundled: bool = False

    @property
    def checkpoint(self) -> Path | None:
        """The file or folder of a program with one network; None without one."""
        if not self.paths:
            return None
        (path,) = self.paths.values()
        return path

    @property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of every file by its name, or by `network/name` for several networks."""
        prefixes = [""] if len(self.paths) == 1 else [f"{network}/" for network in self.paths]
        return {
            prefix + name: cached_sha256(file)
            for prefix, path in zip(prefixes, self.paths.values(), strict=True)
            for name, file in weights_files(path).items()
        }

    @property
    def settings(self) -> dict[str, object]:
        """What a manifest's settings say of them, beside its `checkpoint_sha256`."""
        if self.seed is not None:
            return {"weights": f"random:{self.seed}"}
        hashes = self.hashes
        return {"weights_files": hashes} if len(hashes) > 1 else {}

    @property
    def origin(self) -> Origin | None:
        """What the file of a program with one network says of itself; None for random weights and files of others.

        Raises:
            CheckpointError: a later version wrote it.
        """
        return Origin.read(next(iter(self.paths.values()))) if len(self.paths) == 1 else None

    def sha256(self) -> str | None:
        """One SHA-256 for all files (see `combined_sha256`), None without files."""
        hashes = self.hashes
        return combined_sha256(hashes) if hashes else None

    def __str__(self) -> str:
        if self.seed is not None:
            return f"random, seed {self.seed} (untrained: masks mean nothing)"
        if self.bundled:
            return "demo (a small network trained on synthetic videos; --checkpoint PATH takes published ones)"
        training = "" if self.origin is None else self.origin.training
        return ", ".join(map(str, self.paths.values())) + training or "the program's own"


def parse_seed(weights: str) -> int | None:
    """The seed of `random:SEED`; None if `weights` is of another kind.

    Raises:
        WeightsError: it is `random` without a sound seed.
    """
    if not re.match(r"random(:|$)", weights):
        return None
    match = re.fullmatch(r"random:([0-9]{1,9})", weights)
    if not match:
        raise WeightsError(f"--weights {weights}: expected random:SEED, for instance random:0")
    return int(match[1])


def check_weights(weights: str) -> None:
    """Check that a text is one of the kinds of `--weights`; whether the weights are there is another matter.

    Raises:
        WeightsError: it is of no kind, or there are no published weights of a name.
    """
    if weights != BUNDLED and parse_seed(weights) is None:
        for name in weights.split(","):
            HubSource.parse(name) if name.startswith("hub:") else published(name)


def known_config(configs: Sequence[str], config: str) -> str:
    """`config`, if a configuration has this name.

    Raises:
        WeightsError: none has; names those that exist.
    """
    if config not in configs:
        raise WeightsError(f"config {config}: expected one of {', '.join(configs)}")
    return config


def choose_network(
    program: TakesWeights, config: str | None = None, checkpoint: Path | None = None, weights: str | None = None
) -> tuple[str, WeightsChoice]:
    """The configuration and the weights to load; the one rule for command lines and for Python.

    Without checkpoint and weights, a program takes the published weights that are in the user's folder, else those
    bundled with it; and the configuration follows from them.

    Args:
        program: what it takes.
        config: the configuration asked for; None for the one that the checkpoint names, else the default.
        checkpoint: the weights file or folder asked for.
        weights: `random:SEED`, `bundled`, or published weights: a name of the table or `hub:OWNER/NAME@COMMIT`, several
            with commas between them for a program with several networks.

    Raises:
        WeightsError: there is no such configuration, file or name, checkpoint and weights are both given or the program
            brings its own, published weights are not in the user's folder, or no weights are bundled for the
            configuration.
        CheckpointError: a later version wrote the checkpoint.
    """
    if config is not None:
        known_config(program.configs, config)
    usual = config or program.configs[0]
    if program.own_weights and (checkpoint or weights):
        raise WeightsError(f"{program.name} brings its own weights: give neither --checkpoint nor --weights")
    if checkpoint is not None and weights is not None:
        raise WeightsError(_what_to_give(program))
    if checkpoint is not None:
        given = WeightsChoice(paths=_given(program, checkpoint))
        named = given.origin.config if config is None and given.origin is not None else usual
        return named if named in program.configs else usual, given
    if weights is None:
        return _usual(program, config)
    if weights == BUNDLED:
        return _bundled(program, config)
    if (seed := parse_seed(weights)) is not None:
        return usual, WeightsChoice(seed=seed)
    return _named(program, config, weights.split(","))


def _what_to_give(program: TakesWeights) -> str:
    """What to give to a program, as the end of a sentence."""
    bundled = f", {BUNDLED}" if any(weights.available for weights in program.bundled) else ""
    return (
        f"give either --checkpoint PATH or --weights random:SEED{bundled}, NAME or hub:OWNER/NAME@COMMIT "
        "(in Python checkpoint=PATH or seed=SEED)"
    )


def _usual(program: TakesWeights, config: str | None) -> tuple[str, WeightsChoice]:
    """What a program takes without a choice."""
    if program.own_weights:
        return config or program.configs[0], WeightsChoice()
    needs = needs_of(program.name)
    for name in program.configs if config is None else [config]:
        if name in needs and all(stored(weights) for weights in needs[name].weights.values()):
            return name, _placed(program, named_weights(list(needs[name].weights.values())))
    if any(weights.available for weights in program.bundled):
        return _bundled(program, config)
    usual = config or program.configs[0]
    wanted = needs.get(usual)
    fetch = f"{fetching(list(wanted.weights.values()))}; " if wanted else ""
    trying = "; --weights random:0 --config tiny tries it out untrained" if "tiny" in program.configs else ""
    raise WeightsError(
        f"no weights of {program.name}, config {usual}, are on this machine; {fetch}{_what_to_give(program)}{trying}"
    )


def _bundled(program: TakesWeights, config: str | None) -> tuple[str, WeightsChoice]:
    available = [weights for weights in program.bundled if weights.available]
    for weights in available:
        if config in (None, weights.config, weights.stands_for):
            return weights.config, WeightsChoice(paths=_given(program, weights.path), bundled=True)
    if not available:
        raise WeightsError(f"--weights {BUNDLED}: {program.name} ships no weights; {_what_to_give(program)}")
    raise WeightsError(
        f"config {config}: this program ships weights of {', '.join(w.config for w in available)} only; "
        f"{_what_to_give(program)}"
    )


def _given(program: TakesWeights, checkpoint: Path) -> Mapping[str, Path]:
    """The weights at a path."""
    if len(program.networks) == 1:
        return _placed(program, [checkpoint]).paths
    if not checkpoint.is_dir():
        raise WeightsError(
            f"checkpoint {checkpoint}: no such folder; {program.name} expects one that holds "
            f"{' and '.join(program.networks)}"
        )
    return _placed(program, [checkpoint / network for network in program.networks]).paths


def _named(program: TakesWeights, config: str | None, names: Sequence[str]) -> tuple[str, WeightsChoice]:
    """Published weights by their names; the configuration follows from names of the table."""
    if any(name.startswith("hub:") for name in names):
        if len(names) != len(program.networks):
            raise WeightsError(
                f"--weights {','.join(names)}: {program.name} loads {' and '.join(program.networks)}; give "
                f"{len(program.networks)} with commas between them, in this order"
            )
        return config or program.configs[0], _placed(program, named_weights(names))
    for name in names:
        published(name)
    needs = {name: list(needs.weights.values()) for name, needs in needs_of(program.name).items()}
    for name in program.configs if config is None else [config]:
        if sorted(needs.get(name, ())) == sorted(names):
            return name, _placed(program, named_weights(needs[name]))
    known = "; ".join(f"{','.join(weights)} for config {name}" for name, weights in needs.items())
    raise WeightsError(
        f"--weights {','.join(names)}: not the weights of {program.name}{f', config {config}' if config else ''}; "
        f"it takes {known or 'no published weights'}"
    )


def named_weights(names: Sequence[str]) -> list[Path]:
    """Files or folders of published weights in the user's folder.

    Args:
        names: of the table, or `hub:OWNER/NAME@COMMIT`.

    Raises:
        WeightsError: there is no such name, or they are not there; says how to fetch them.
    """
    found = []
    for name in names:
        source = str(HubSource.parse(name)) if name.startswith("hub:") else published(name).name
        path = stored(source)
        if path is None:
            raise WeightsError(
                f"weights {name}: not in {folder_of(source)}; `uv run fusion-core weights fetch {name}` fetches them, "
                f"and `uv run fusion-core weights add {name} PATH` takes files that are elsewhere on this machine"
            )
        found.append(path)
    return found


def _placed(program: TakesWeights, paths: Sequence[Path]) -> WeightsChoice:
    """A path for each network, of the kind that the program reads."""
    for path in paths:
        if not (path.is_file() if program.checkpoint == "file" else path.is_dir()):
            raise WeightsError(
                f"checkpoint {path}: no such {program.checkpoint}; {program.name} reads a {program.checkpoint}"
            )
    return WeightsChoice(paths=dict(zip(program.networks, paths, strict=True)))
