"""What one worker is started for: a prediction, several propagations by one model, or a vote.

A job writes one run, or several that share their work, and says of every video whether that is done already.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mask_interchange import MaskRun, RunManifest
from mask_interchange.errors import RunBusyError

from fusion_core.errors import MemberError, ProgramError
from fusion_core.recipe.graph import (
    OWN_WEIGHTS,
    Model,
    Options,
    Predict,
    Propagate,
    Vote,
    option_arguments,
)
from fusion_core.running.context import Place
from fusion_core.running.environments import Tell, find_program
from fusion_core.running.provenance import Hashes
from fusion_core.running.worker import ProgramTask, Task, VoteTask
from fusion_core.voting.fused_run import Fusion, file_sha256, fingerprint

Settings = Mapping[str, Any]
_VOTE_MEMORY = 0.5  # GiB


class Job(ABC):
    """Work that one worker does video by video.

    Attributes:
        name: for people and files.
        runs: names of the runs it writes.
        inputs: names of the runs it reads; they must have been started, and have a video before it can be done here.
        loads: name of what takes the time, for estimates.
        memory: GiB of main memory that one worker needs.
    """

    name: str
    runs: tuple[str, ...]
    inputs: tuple[str, ...]
    loads: str
    memory: float

    def __init__(self, place: Place) -> None:
        self.place = place

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def outdated(self) -> str | None:
        """Why a run that is there must be made anew; None if none must.

        Raises:
            MemberError: a run is there that somebody else made of something else.
        """
        return next((f"{run}: {why}" for run in self.runs if (why := self._outdated(run))), None)

    def start(self) -> str | None:
        """Remove outdated runs, and put on record what the runs are made of from now on; returns as `outdated`.

        Raises:
            MemberError, RunError: a run is there that somebody else made of something else.
            RunBusyError: another process writes an outdated run.
        """
        why = self.outdated()
        for run in self.runs:
            if self._outdated(run):
                self.place.ledger.remove(run)
            self._tidy(run)
            record = self.place.ledger.made_of(run)
            if record is None or record.settings != self.settings(run):
                self.place.ledger.begin(run, self.settings(run))
        return why

    def _tidy(self, run: str) -> None:
        """Remove what a killed worker left of a file it was writing, unless one that was not killed is still at it."""
        if (self.place.run(run) / "run.json").is_file():
            with suppress(RunBusyError), MaskRun.open(self.place.run(run)).writing():
                pass

    def _outdated(self, run: str) -> str | None:
        path = self.place.run(run)
        if not (path / "run.json").is_file():
            return None
        record, now = self.place.ledger.made_of(run), self.settings(run)
        if record is None:
            why = self.disagreement(run, MaskRun.open(path).manifest)
        else:
            why = _difference(record.settings, now)
        if why and not (record and record.made_here):
            raise MemberError(
                f"{path}: there is a run that this command has not made, of something else: {why}. Move it away, or"
                " name it in a recipe of your own as an existing run"
            )
        return why

    @abstractmethod
    def settings(self, run: str) -> Settings:
        """Everything that one of the runs is made of, beside frames and masks: JSON values."""

    @abstractmethod
    def disagreement(self, run: str, manifest: RunManifest) -> str | None:
        """How a run that this command did not begin differs from what it would make; None if it does not."""

    @abstractmethod
    def is_done(self, video: str) -> bool:
        """Whether all runs have the video, made from what the inputs hold now. Changes nothing."""

    @abstractmethod
    def begin(self, video: str) -> None:
        """Make ready for a video: outdated masks go, and what the new ones are made from is put on record first."""

    @abstractmethod
    def keep(self, video: str) -> None:
        """Take the masks of a video that is done as they are."""

    @abstractmethod
    def task(self, tell: Tell) -> Task:
        """What a worker does.

        Args:
            tell: is called with what is done to make it ready, in words.

        Raises:
            ProgramError: its program is missing or cannot be made ready.
        """

    @abstractmethod
    def command(self, video: str) -> list[str]:
        """A command line that does one video, for somebody to look at what goes wrong."""


class ProgramJob(Job):
    """One or several runs by one worker of a program: a prediction, or propagations that share their work."""

    def __init__(self, place: Place, nodes: Sequence[Predict | Propagate]) -> None:
        super().__init__(place)
        self.nodes = {node.name: node for node in nodes}
        self.runs = tuple(self.nodes)
        self.name = " + ".join(self.runs)
        self.inputs = tuple(name for node in nodes for name in node.inputs)
        self.model: Model = place.recipe.model(nodes[0])
        self.options: Options = {**self.model.options, **nodes[0].options}
        self.loads = self.model.name
        self.memory = self.model.memory

    def settings(self, run: str) -> Settings:
        """Program, options, weights, data set, and the source's manifest."""
        program = find_program(self.model.program)
        settings: dict[str, Any] = {
            "program": list(self.model.program),
            "version": program.member.version if program.member else None,
            "options": dict(self.options),
            "checkpoint_sha256": self.model.checkpoint and _checkpoint_sha256(self.model.checkpoint),
            "weights": self.model.weights,
            "dataset": self.place.dataset.identity,
        }
        if self.model.weights == OWN_WEIGHTS and program.member:  # in a checkout they change without a new version
            settings["own_weights"] = {path.name: _checkpoint_sha256(path) for path in program.member.weights}
        return settings | {"sources": self._sources(run)}

    def _sources(self, run: str) -> dict[str, str]:
        inputs = self.nodes[run].inputs
        return {name: fingerprint(MaskRun.open(self.place.run(name)).manifest) for name in inputs}

    def disagreement(self, run: str, manifest: RunManifest) -> str | None:
        """Compares what the manifest tells: data set, weights, options and source."""
        now = self.settings(run)
        there = {"dataset": manifest.dataset["fingerprint"]}
        expected: dict[str, Any] = {"dataset": self.place.dataset.fingerprint}
        if there["dataset"] is None:
            expected = there
        if self.has_weights and self.model.weights != OWN_WEIGHTS:
            there |= {"checkpoint_sha256": manifest.checkpoint_sha256, "weights": manifest.settings.get("weights")}
            expected |= {"checkpoint_sha256": now["checkpoint_sha256"], "weights": now["weights"]}
        for name, value in self.options.items():
            if name in manifest.settings:
                there, expected = there | {name: manifest.settings[name]}, expected | {name: value}
        source = manifest.settings.get("source")
        for sha256 in now["sources"].values():
            if isinstance(source, dict) and "manifest_sha256" in source:
                there, expected = there | {"source": source["manifest_sha256"]}, expected | {"source": sha256}
        return _difference(there, expected)

    @property
    def has_weights(self) -> bool:
        """Whether the model can be loaded."""
        return self.model.checkpoint is not None or self.model.weights is not None

    def is_done(self, video: str) -> bool:
        """Masks without a record are those of a run that was found."""
        return all(
            self.place.masks(run, video).is_file()
            and self.place.ledger.hashes(run, video) in (None, self._hashes(run, video))
            for run in self.runs
        )

    def begin(self, video: str) -> None:
        """The record comes before the masks: masks that are there are always made from what it says."""
        for run in self.runs:
            now, then = self._hashes(run, video), self.place.ledger.hashes(run, video)
            if then is not None and then != now:
                self.place.masks(run, video).unlink(missing_ok=True)
            if then != now:
                self.place.ledger.write_hashes(run, video, now)

    def keep(self, video: str) -> None:
        """Put on record what masks that were found are taken to be made from."""
        for run in self.runs:
            if self.place.ledger.hashes(run, video) is None:
                self.place.ledger.write_hashes(run, video, self._hashes(run, video))

    def _hashes(self, run: str, video: str) -> Hashes:
        sources = {name: file_sha256(self.place.masks(name, video)) for name in self.nodes[run].inputs}
        return {"frames": self.place.frames(video), **sources}

    def task(self, tell: Tell) -> ProgramTask:
        """Start nothing yet, but bring the program's environment up to date."""
        program = find_program(self.model.program)
        program.make_ready(tell)
        return ProgramTask(command=self._command(program.command), log=self.place.ledger.log(self.runs[0]))

    def command(self, video: str) -> list[str]:
        """The worker's command line for one video."""
        return [*self._command(find_program(self.model.program).command), "--videos", video]

    def _command(self, program: Sequence[str]) -> tuple[str, ...]:
        return (
            *program,
            *self.place.source.arguments(sentences=not self.inputs),
            *(word for name in self.inputs for word in ("--masks", str(self.place.run(name).absolute()))),
            *(word for name in self.runs for word in ("--out", str(self.place.run(name).absolute()))),
            *self._weights(),
            *option_arguments(self.options),
            *(() if self.place.device == "auto" else ("--device", self.place.device)),
        )

    def _weights(self) -> tuple[str, ...]:
        if self.model.checkpoint is not None:
            return ("--checkpoint", str(self.model.checkpoint.absolute()))
        if self.model.weights == OWN_WEIGHTS:
            return ()
        if self.model.weights is not None:
            return ("--weights", self.model.weights)
        raise ProgramError(f"model {self.model.name!r} has no weights; give --checkpoint {self.model.name}=PATH")


class VoteJob(Job):
    """One fused run. Its records are those of `Fusion`, which `fusion-core fuse` keeps too."""

    loads = "votes"
    memory = _VOTE_MEMORY

    def __init__(self, place: Place, vote: Vote) -> None:
        super().__init__(place)
        self.vote = vote
        self.runs = (vote.name,)
        self.name = vote.name
        self.inputs = vote.members
        self.faithful = place.recipe.faithful

    def settings(self, run: str) -> Settings:
        """The rule; the fused run itself tells its members' manifests apart."""
        return {
            "members": list(self.vote.members),
            "threshold": [self.vote.threshold, self.vote.out_of],
            "leftover": self.vote.leftover,
            "pairing": str(self.vote.pairing),
            "faithful": self.faithful,
            "version": version("fusion-core"),
        }

    def disagreement(self, run: str, manifest: RunManifest) -> str | None:
        """A vote that somebody else began is compared, whole, when it is continued."""
        return None

    @cached_property
    def _fusion(self) -> Fusion:
        members = [MaskRun.open(self.place.run(name)) for name in self.vote.members]
        return Fusion(self.vote, members, self.place.run(self.name), faithful=self.faithful)

    def _outdated(self, run: str) -> str | None:
        if self._fusion.is_outdated:
            return "a member was made anew"
        return super()._outdated(run)

    def start(self) -> str | None:
        """Also starts the fused run."""
        why = super().start()
        self._fusion.start()
        return why

    def is_done(self, video: str) -> bool:
        """By the record beside the fused masks."""
        return self._fusion.is_done(video)

    def begin(self, video: str) -> None:
        """Nothing: masks without a fitting record are voted again."""

    def keep(self, video: str) -> None:
        """Nothing: the record is there."""

    def task(self, tell: Tell) -> VoteTask:
        """The vote."""
        members = tuple(self.place.run(name).absolute() for name in self.vote.members)
        out = self.place.run(self.name).absolute()
        return VoteTask(vote=self.vote, members=members, out=out, faithful=self.faithful)

    def command(self, video: str) -> list[str]:
        """Shows what the first member holds."""
        return ["fusion-core", "show", str(self.place.run(self.vote.members[0]))]


def jobs_of(place: Place) -> list[Job]:
    """The jobs of a recipe, in an order in which they can be done.

    Propagations by one model are one job where no other propagation lies between them.
    """
    recipe = place.recipe
    groups: dict[object, list[Predict | Propagate]] = {}
    jobs: list[Job] = []
    for node in recipe.nodes:
        if isinstance(node, Propagate):
            groups.setdefault((recipe.round(node), node.model, tuple(sorted(node.options.items()))), []).append(node)
        elif isinstance(node, Predict):
            groups[node.name] = [node]
        elif isinstance(node, Vote):
            jobs.append(VoteJob(place, node))
    jobs += [ProgramJob(place, nodes) for nodes in groups.values()]
    maker = {run: job for job in jobs for run in job.runs}
    graph = {job: [maker[name] for name in job.inputs if name in maker] for job in jobs}
    return list(TopologicalSorter(graph).static_order())


def _difference(there: Settings, now: Settings) -> str | None:
    """The first key in which two records differ, with both values; None if they are equal."""
    for key in {**there, **now}:
        then, today = there.get(key), now.get(key)
        if isinstance(then, Mapping) and isinstance(today, Mapping):
            if why := _difference(then, today):
                return f"{key}.{why}"
        elif then != today:
            return f"{key} was {then!r:.80} and is {today!r:.80} now"
    return None


@cache
def _checkpoint_sha256(path: Path) -> str:
    """Of a checkpoint, which does not change while this process runs."""
    sha256 = file_sha256(path)
    if sha256 is None:
        raise ProgramError(f"{path}: no such checkpoint")
    return sha256
