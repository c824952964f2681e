"""What one worker is started for: a prediction, several propagations by one model, or a vote and its kin.

A job writes one run, or several that share their work. It knows of every video whether it is done already.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any

from mask_interchange import MadeOf, MaskRun, RunBusyError
from mask_interchange.differences import dataset_difference, difference
from program_kit.weights import BUNDLED
from program_kit.weights_folder import cached_sha256

from fusion_core.errors import MemberError, ProgramError
from fusion_core.recipe.graph import OWN_WEIGHTS, Model, option_arguments
from fusion_core.recipe.nodes import FusionNode, Options, Predict, Propagate
from fusion_core.recipe.weights import weights_choice
from fusion_core.running.context import RunContext
from fusion_core.running.environments import StatusCallback, find_program
from fusion_core.running.worker import FusionTask, ProgramTask, Task
from fusion_core.voting.fused_run import FusedRun

WRITERS_PATIENCE = 60.0  # seconds that workers whose runner was killed get to end; they notice within seconds
_FUSION_MEMORY = 0.5  # GiB


def make_jobs(context: RunContext) -> "tuple[Job, ...]":
    """The jobs of a recipe, in an order in which they can be done.

    Propagations by one model are one job if there is no other propagation between them.
    """
    recipe = context.recipe
    groups: dict[object, list[Predict | Propagate]] = {}
    jobs: list[Job] = []
    for node in recipe.nodes:
        if isinstance(node, Propagate):
            groups.setdefault((recipe.round(node), node.model, tuple(sorted(node.options.items()))), []).append(node)
        elif isinstance(node, Predict):
            groups[node.name] = [node]
        elif isinstance(node, FusionNode):
            jobs.append(FusionJob(context, recipe.carried_out(node)))
    jobs += [ProgramJob(context, nodes) for nodes in groups.values()]
    maker = {run: job for job in jobs for run in job.runs}
    graph = {job: [maker[name] for name in job.inputs if name in maker] for job in jobs}
    return tuple(TopologicalSorter(graph).static_order())


class Job(ABC):
    """Work that one worker does video by video.

    Attributes:
        name: for people and files.
        runs: names of the runs it writes.
        inputs: names of the runs it reads. They must be started, and have a video before this job can do it.
        loads: name of what takes the time, for estimates.
        memory: GiB of main memory that one worker needs.
    """

    name: str
    runs: tuple[str, ...]
    inputs: tuple[str, ...]
    loads: str
    memory: float

    def __init__(self, context: RunContext) -> None:
        self.context = context

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def outdated(self) -> str | None:
        """Why existing runs must be made again; None if they need not. Looks at the disk each time.

        Raises:
            MemberError: a run with different settings exists that the runner has not made.
        """
        return next((why for run in self.runs if (why := self._outdated(run))), None)

    def start(self, status: StatusCallback) -> str | None:
        """Remove outdated runs, and record what the runs are made from, from now on; returns as `outdated`.

        Args:
            status: called with what is waited for, in words.

        Raises:
            MemberError, RunError: a run with different settings exists that the runner has not made.
            RunBusyError: another process writes one of the runs, and does not end soon.
        """
        for run in filter(self._exists, self.runs):
            self._wait_for_writers(run, status)
        why = self.outdated()
        for run in self.runs:
            if self._outdated(run):
                self.context.provenance.remove(run)
            if not self._exists(run) or self.context.provenance.of_run(run) is None:
                self.context.provenance.begin(run, self.settings(run))
        return why

    def _wait_for_writers(self, run: str, status: StatusCallback) -> None:
        """Wait until workers whose runner was killed have ended; then remove what they left unfinished."""
        deadline = time.monotonic() + WRITERS_PATIENCE
        told = False
        while True:
            try:
                with MaskRun.open(self.context.run(run)).writing():
                    return
            except RunBusyError:
                if time.monotonic() > deadline:
                    raise
                if not told:
                    status(f"waiting for another process that writes {self.context.run(run)}")
                told = True
                time.sleep(0.2)

    def _outdated(self, run: str) -> str | None:
        why = self.difference(run) if self._exists(run) else None
        if why and not self._may_remove(run):
            raise MemberError(
                f"{self.context.run(run)}: the existing run, which this command has not made, cannot be continued:"
                f" {why}. Move it away, or name it in a recipe of your own as an existing run"
            )
        return why

    def _exists(self, run: str) -> bool:
        return (self.context.run(run) / "run.json").is_file()

    def _may_remove(self, run: str) -> bool:
        provenance = self.context.provenance.of_run(run)
        return (provenance is not None and provenance.made_here) or not MaskRun.open(self.context.run(run)).videos()

    @abstractmethod
    def settings(self, run: str) -> Mapping[str, Any]:
        """Everything that one of the runs is made from, except frames and masks: JSON values."""

    @abstractmethod
    def difference(self, run: str) -> str | None:
        """How an existing run differs from what this job would make; None if it does not."""

    @abstractmethod
    def is_done(self, video: str) -> bool:
        """Whether all runs have the video, made from what the inputs hold now. Changes nothing."""

    @abstractmethod
    def begin(self, video: str) -> None:
        """Prepare for a video: remove outdated masks."""

    @abstractmethod
    def fault(self, video: str) -> str | None:
        """What is wrong with the masks of a video that a worker says is done; None if nothing is."""

    @abstractmethod
    def task(self, status: StatusCallback) -> Task:
        """What a worker does.

        Args:
            status: called with what is done to prepare it, in words.

        Raises:
            ProgramError: its program is missing or cannot be prepared.
        """

    @abstractmethod
    def command(self, video: str) -> list[str]:
        """A command line that does one video, for whoever wants to see what goes wrong."""


class ProgramJob(Job):
    """One or several runs by one worker of a program: a prediction, or propagations that share their work."""

    def __init__(self, context: RunContext, nodes: Sequence[Predict | Propagate]) -> None:
        super().__init__(context)
        self.nodes = {node.name: node for node in nodes}
        self.runs = tuple(self.nodes)
        self.name = " + ".join(self.runs)
        self.inputs = tuple(name for node in nodes for name in node.inputs)
        self.model: Model = context.recipe.model(nodes[0])
        self.options: Options = {**self.model.options, **nodes[0].options}
        self.loads = self.model.name
        self.memory = self.model.memory

    @property
    def has_weights(self) -> bool:
        """Whether the model can be loaded."""
        return self.model.checkpoint is not None or self.model.weights is not None

    @property
    def _weights_by_name(self) -> bool:
        """Whether files with names of published weights are read: the names do not matter, the hash does."""
        return self.model.weights != OWN_WEIGHTS and bool(weights_choice(self.model).paths)

    def settings(self, run: str) -> Mapping[str, Any]:
        """Program, options, weights, data set, and the source's manifest."""
        program = find_program(self.model.program)
        settings: dict[str, Any] = {
            "program": list(self.model.program),
            "version": program.package.version if program.package else None,
            "options": dict(self.options),
            "precision": self.options.get("precision", "strict"),  # no run of before has it
            "checkpoint_sha256": _weights_sha256(self.model),
            "weights": None if self._weights_by_name else self.model.weights,
            "dataset": self.context.dataset.identity,
        }
        if self.model.weights in (OWN_WEIGHTS, BUNDLED) and program.package:
            # in a checkout they change without a new version
            settings["own_weights"] = {path.name: cached_sha256(path) for path in program.package.weights}
        return settings | {"sources": self._sources(run)}

    def _sources(self, run: str) -> dict[str, str]:
        inputs = self.nodes[run].inputs
        return {name: self._open(name).manifest.sha256 for name in inputs}

    def difference(self, run: str) -> str | None:
        """By the record of the run, or by its manifest if this command did not begin it."""
        provenance = self.context.provenance.of_run(run)
        if provenance is None:
            return self._difference_from_manifest(run) or self._unrecorded(run)
        now = self.settings(run)
        for name, sha256 in now["sources"].items():
            if provenance.settings.get("sources", {}).get(name) != sha256:
                return f"its source {name} has changed"
        return self._dataset_difference(run, provenance.settings["dataset"]["fingerprint"]) or difference(
            provenance.settings, now
        )

    def _difference_from_manifest(self, run: str) -> str | None:
        """Compares what a manifest says: data set, weights, options and source."""
        manifest, now = self._open(run).manifest, self.settings(run)
        there: dict[str, Any] = {}
        expected: dict[str, Any] = {}
        if self.has_weights and self.model.weights not in (OWN_WEIGHTS, BUNDLED):
            there |= {"checkpoint_sha256": manifest.checkpoint_sha256, "weights": manifest.settings.get("weights")}
            expected |= {"checkpoint_sha256": now["checkpoint_sha256"], "weights": now["weights"]}
        for name, value in self.options.items():
            if name in manifest.settings:
                there, expected = there | {name: manifest.settings[name]}, expected | {name: value}
        source = manifest.settings.get("source")
        for sha256 in now["sources"].values():
            if isinstance(source, dict) and "manifest_sha256" in source:
                there, expected = there | {"source": source["manifest_sha256"]}, expected | {"source": sha256}
        fingerprint = manifest.dataset["fingerprint"]
        return self._dataset_difference(run, fingerprint) or difference(there, expected)

    def _dataset_difference(self, run: str, fingerprint: str | None) -> str | None:
        if fingerprint in (None, self.context.dataset.fingerprint):
            return None
        return dataset_difference(self._open(run).sound_videos(), self.context.dataset)

    def _unrecorded(self, run: str) -> str | None:
        """Which masks nobody can say the origin of, in words."""
        there = self._open(run)
        videos = [video for video in there.videos() if there.made_of(video) is None]
        return f"nothing records what its masks of {', '.join(videos[:3])} were made from" if videos else None

    def is_done(self, video: str) -> bool:
        """Masks count only if their record says that they are made from what there is now."""
        return all(self._is_done(run, video) for run in self.runs)

    def begin(self, video: str) -> None:
        """A program may take outdated masks for its own."""
        self.context.frames_sha256(video)  # as they are before the program reads them
        for run in self.runs:
            if not self._is_done(run, video):
                self.context.masks(run, video).unlink(missing_ok=True)

    def fault(self, video: str) -> str | None:
        """Also records what the masks are made from, if the program does not do so itself."""
        if not all(self.context.masks(run, video).is_file() for run in self.runs):
            return "the program says that it is done, but its masks are not there"
        if not self.context.frames_changed(video):
            for run in map(self._open, self.runs):
                if run.made_of(video) is None:
                    run.record(video, self._made_of_now(run, video))
        if not self.is_done(video):
            return "its frames or source masks have changed since this command began; the same command makes it again"
        return None

    def _is_done(self, run: str, video: str) -> bool:
        if not self._exists(run):
            return False
        there = self._open(run)
        return there.made_of(video) == self._made_of_now(there, video)

    def _made_of_now(self, run: MaskRun, video: str) -> MadeOf:
        """What one of the runs would be made from now."""
        return MadeOf(
            manifest=run.manifest.sha256,
            frames=self.context.frames_sha256(video),
            sources=tuple(self._open(name).sha256(video) for name in self.nodes[run.path.name].inputs),
        )

    def _open(self, run: str) -> MaskRun:
        return MaskRun.open(self.context.run(run))

    def task(self, status: StatusCallback) -> ProgramTask:
        """Bring the program's environment up to date; nothing is started yet."""
        program = find_program(self.model.program)
        program.make_ready(status)
        log = self.context.provenance.log(self.runs[0])
        return ProgramTask(command=self._command(program.command), log=log, stall=self.context.stall)

    def command(self, video: str) -> list[str]:
        """The worker's command line for one video."""
        return [*self._command(find_program(self.model.program).command), "--videos", video]

    def _command(self, program: Sequence[str]) -> tuple[str, ...]:
        return (
            *program,
            *self.context.source.arguments(expressions=not self.inputs),
            *(word for name in self.inputs for word in ("--masks", str(self.context.run(name).absolute()))),
            *(word for name in self.runs for word in ("--out", str(self.context.run(name).absolute()))),
            *self._weights(),
            *option_arguments(self.options),
            *(() if self.context.device == "auto" else ("--device", self.context.device)),
        )

    def _weights(self) -> tuple[str, ...]:
        if self.model.checkpoint is not None:
            return ("--checkpoint", str(self.model.checkpoint.absolute()))
        if self.model.weights == OWN_WEIGHTS:
            return ()
        if self.model.weights is not None:
            return ("--weights", self.model.weights)
        raise ProgramError(f"model {self.model.name!r} has no weights; give --checkpoint {self.model.name}=PATH")


class FusionJob(Job):
    """One fused run. The run itself records what it was made from, as with `fusion-core fuse`."""

    loads = "votes"
    memory = _FUSION_MEMORY

    def __init__(self, context: RunContext, node: FusionNode) -> None:
        super().__init__(context)
        self.node = node
        self.runs = (node.name,)
        self.name = node.name
        self.inputs = node.inputs
        self._fused_run: FusedRun | None = None

    @property
    def fused_run(self) -> FusedRun:
        """The run over its members as they were when `outdated` looked last."""
        if self._fused_run is None:
            members = [MaskRun.open(self.context.run(name)) for name in self.inputs]
            self._fused_run = FusedRun(self.node, members, self.context.run(self.name))
        return self._fused_run

    def outdated(self) -> str | None:
        """Opens the members again: they may have been started since."""
        self._fused_run = None
        return super().outdated()

    def start(self, status: StatusCallback) -> str | None:
        """Also starts the fused run."""
        why = super().start(status)
        self.fused_run.start()
        return why

    def settings(self, run: str) -> Mapping[str, Any]:
        """As in the manifest of the fused run."""
        return self.fused_run.run.manifest.settings

    def difference(self, run: str) -> str | None:
        """By the manifest of the fused run."""
        return "a member has changed" if self.fused_run.members_changed else self.fused_run.difference

    def _may_remove(self, run: str) -> bool:
        return self.fused_run.members_changed or super()._may_remove(run)

    def is_done(self, video: str) -> bool:
        """By the record beside the fused masks."""
        return self.fused_run.is_done(video)

    def begin(self, video: str) -> None:
        """Nothing: masks without a matching record are voted again."""

    def fault(self, video: str) -> str | None:
        """By the record of the vote."""
        return None if self.is_done(video) else "the masks of a member changed meanwhile; the same command votes again"

    def task(self, status: StatusCallback) -> FusionTask:
        """To make it in this process."""
        members = tuple(self.context.run(name).absolute() for name in self.inputs)
        return FusionTask(node=self.node, members=members, out=self.context.run(self.name).absolute())

    def command(self, video: str) -> list[str]:
        """Shows what the first member holds."""
        return ["fusion-core", "show", str(self.context.run(self.inputs[0]))]


def _weights_sha256(model: Model) -> str | None:
    """SHA-256 of the weights that the program of a model will load; None for those that only it knows."""
    try:
        return weights_choice(model).sha256()
    except FileNotFoundError as error:
        raise ProgramError(f"{error.filename}: no such checkpoint") from None
