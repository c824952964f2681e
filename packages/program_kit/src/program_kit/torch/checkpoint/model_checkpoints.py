"""The checkpoints of one model: load published and converted files, convert and save, and say which file fits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from program_kit.errors import CheckpointError
from program_kit.origin import Origin
from program_kit.torch.checkpoint.reading import Checkpoint, read_checkpoint
from program_kit.torch.checkpoint.table import OUR_NAMES, StateDict, Table, convert, fits, matches
from program_kit.torch.checkpoint.writing import check_target, write_checkpoint
from program_kit.weights import WeightsChoice

C = TypeVar("C")
N = TypeVar("N", bound=nn.Module, covariant=True)


RANDOM = {"normal_", "uniform_", "bernoulli_"}


class Unallocated(TorchFunctionMode):
    """Inside this context most parameters are made without memory, and initialisers leave them alone.

    For networks that are about to be filled with weights: building ViT-H takes half a minute otherwise. Buffers keep
    their numbers, which the device `meta` would not give them.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty:
            return func(*args, **kwargs | {"device": "meta"})
        if getattr(func, "__module__", "") == nn.init.__name__ or func.__name__ in RANDOM:
            tensor = args[0] if args else kwargs["tensor"]
            # Without memory torch draws in Python, and imports its compiler to do so.
            if tensor.is_meta or isinstance(tensor, nn.Parameter):
                return tensor
        return func(*args, **kwargs)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCheckpoints(Generic[C, N]):
    """What the checkpoints of one model hold, and how they come into its networks.

    Attributes:
        model: name of the model; files that are written carry it.
        configs: its configurations by name.
        build: makes the network of a configuration.
        table: the rules for the published names of a configuration.
        others: published names that only checkpoints of other models have, as patterns of the table language, with the
            program that takes those.
    """

    model: str
    configs: Mapping[str, C]
    build: Callable[[C], N]
    table: Callable[[C], Table]
    others: Mapping[str, str] = field(default_factory=dict)

    def with_config(self, name: str, config: C) -> Self:
        """The same, with a configuration of one's own."""
        return replace(self, configs={**self.configs, name: config})

    def network(self, config: str, weights: WeightsChoice) -> N:
        """A network with the weights of a file or of a seed, as chosen by `program_kit.weights.choose_network`.

        Raises:
            CheckpointError: as `load`.
        """
        if weights.checkpoint is not None:
            return self.load(weights.checkpoint, config)
        assert weights.seed is not None  # one of the two
        return self.random(config, weights.seed)

    def random(self, config: str, seed: int) -> N:
        """A network with reproducible random weights; the caller's random state is left alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build(self.configs[config])

    def load(self, path: Path, config: str) -> N:
        """A network with the weights of a published or a converted file.

        Raises:
            CheckpointError: the file cannot be read, or does not fit.
        """
        network = self._unallocated(config)
        self.fill(network, read_checkpoint(path), config)
        return network

    def fill(self, network: nn.Module, checkpoint: Checkpoint, config: str) -> None:
        """Put the weights of a published or a converted file into a network, strictly.

        A network that was built `Unallocated` takes over the tensors themselves, without a copy.

        Raises:
            CheckpointError: lists everything that does not fit; or the file is of another model or configuration.
        """
        state = self._our_state(network, checkpoint, config)
        is_meta = any(parameter.is_meta for parameter in network.parameters())
        network.load_state_dict(state, strict=True, assign=is_meta)

    def convert(self, source: Path, target: Path, config: str) -> None:
        """Write a published checkpoint as safetensors with our names, after checking that it fits.

        Raises:
            CheckpointError: the source cannot be read or does not fit, or the target cannot be written.
        """
        check_target(target)
        checkpoint = read_checkpoint(source)
        state = self._our_state(self._unallocated(config), checkpoint, config)
        origin = Origin(model=self.model, config=config, source_sha256=checkpoint.sha256)
        write_checkpoint(target, state, origin)

    def save(self, target: Path, network: nn.Module, config: str, training: Mapping[str, Any] | None = None) -> None:
        """Write the weights of a network that was trained here.

        Args:
            target: the file.
            network: whose weights.
            config: name of its configuration.
            training: the fields of `Origin` that tell of the training; loading the file uses them.

        Raises:
            CheckpointError: the target cannot be written.
        """
        write_checkpoint(target, network.state_dict(), Origin(model=self.model, config=config, **(training or {})))

    def _our_state(self, network: nn.Module, checkpoint: Checkpoint, config: str) -> StateDict:
        path, origin = checkpoint.path, checkpoint.origin
        if origin is None:
            self._check_model(checkpoint)
            table = self.table(self.configs[config])
        else:
            if origin.model != self.model:
                raise CheckpointError(
                    f"{path}: is a checkpoint of {origin.model}, expected one of {self.model}; "
                    f"give it to the program of {origin.model}"
                )
            if origin.config != config:
                raise CheckpointError(
                    f"{path}: was written for configuration {origin.config!r}, not for {config!r}; "
                    f"give config {origin.config}"
                )
            table = OUR_NAMES
        try:
            return convert(checkpoint.state, table, network, str(path))
        except CheckpointError as error:
            raise CheckpointError(f"{error}{self._hint(checkpoint, config)}") from None

    def _hint(self, checkpoint: Checkpoint, config: str) -> str:
        """Which other configurations published weights fit, as a last line of the message."""
        others = [name for name in self.configs if name != config and checkpoint.origin is None]
        fitting = [name for name in others if self._fits(checkpoint, name)]
        return f"\n  its names and shapes fit config {' or '.join(fitting)}" if fitting else ""

    def _check_model(self, checkpoint: Checkpoint) -> None:
        for pattern, program in self.others.items():
            if name := next((name for name in checkpoint.state if matches(pattern, name)), None):
                raise CheckpointError(
                    f"{checkpoint.path}: is not a checkpoint of {self.model}, because it holds {name}; use {program}"
                )

    def _fits(self, checkpoint: Checkpoint, config: str) -> bool:
        return fits(checkpoint.state, self.table(self.configs[config]), self._unallocated(config))

    def _unallocated(self, config: str) -> N:
        with Unallocated():
            return self.build(self.configs[config])
