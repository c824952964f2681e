"""The training loop. It can be stopped at any moment and resumes from its last checkpoint.

`accelerate` provides devices, mixed precision and several processes. What is random follows from seeds
(`training_data`) or from generators whose states are in the checkpoints: a training that was stopped gives the same
losses as one that was not.
"""

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import get_all_start_methods
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from mask_interchange.files import lock_folder
from program_kit.messages import log
from torch import Tensor
from torch.optim import AdamW
from torch.utils.data import DataLoader, Dataset

from rvos_training.data.batches import BatchIndices
from rvos_training.errors import TrainingError
from rvos_training.loop.checkpoints import Checkpoints, Position, TrainingState, differences
from rvos_training.loop.contract import BatchSource, ModelWithLoss, TrainingBatch, TrainingLosses
from rvos_training.loop.random_state import fixed_order, random_state, restore_random_state, seed_everything
from rvos_training.loop.train_config import TrainConfig
from rvos_training.loop.training_log import TrainingLog
from rvos_training.loop.validation import Validate

FORK = "fork"


class Trainer:
    """Trains one network.

    Args:
        model: network and losses.
        data: what to train on.
        config: how long to train and how.
        out: folder for checkpoints, logs and weights.
        accelerator: devices and processes.
        settings: what must be the same when the training resumes, besides the settings of `config`.
        save_weights: writes the network's weights for inference.
        validate: scores the network. Without annotated videos it is None, and the best weights are those after the
            epoch of lowest loss, as published.
        workers: number of processes that read samples ahead; with 0, or on a system that cannot fork, the training
            process reads them.
        save_every: steps between checkpoints.
        keep: number of latest checkpoints to keep.
    """

    def __init__(
        self,
        model: ModelWithLoss,
        data: BatchSource[TrainingBatch],
        config: TrainConfig,
        out: Path,
        accelerator: Accelerator,
        *,
        settings: Mapping[str, Any],
        save_weights: Callable[[Path], None],
        validate: Validate | None = None,
        workers: int = 0,
        save_every: int = 500,
        keep: int = 3,
    ) -> None:
        self.data = data
        self.config = config
        self.out = out
        self.accelerator = accelerator
        self.save_weights = save_weights
        self.validate = validate
        self.workers = workers
        self.save_every = save_every
        self.checkpoints = Checkpoints(out / "checkpoints", keep)
        self.settings = {**config.settings, **settings, "processes": accelerator.num_processes}
        self.position = Position()
        self.model = model.to(accelerator.device)
        optimizer = config.optimisation.optimizer(model.network)
        if model.auxiliary is not None:
            lr = max(group["lr"] for group in optimizer.param_groups)
            optimizer.add_param_group({"params": list(model.auxiliary.parameters()), "lr": lr})
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.schedule = config.optimisation.schedule(optimizer)
        self.parallel, self.optimizer = accelerator.prepare(self.model, optimizer)
        self.batches_per_epoch = len(data.batches(0, config.batch_size, processes=accelerator.num_processes))

    @property
    def steps(self) -> int:
        """Steps of the optimizer from start to end."""
        full = self.config.epochs * -(-self.batches_per_epoch // self.config.gradient_accumulation_steps)
        return full if self.config.steps is None else min(full, self.config.steps)

    def run(self) -> Position:
        """Train to the end, from the latest checkpoint if there is one.

        Raises:
            TrainingError: the checkpoint does not fit, or the loss is not finite.
            RunBusyError: another training writes to the same folder.
        """
        with self._alone():
            return self._run()

    def _alone(self) -> AbstractContextManager[None]:
        """Lock the folder in the main process: two trainings in one folder would overwrite each other's checkpoints."""
        if not self.accelerator.is_main_process:
            return nullcontext()
        self.out.mkdir(parents=True, exist_ok=True)
        return lock_folder(self.out, shared=False)

    def _run(self) -> Position:
        self._resume()
        position = self.position
        with fixed_order(self.accelerator.device), self._logging() as log:
            if position.validated < position.step and (position.batches == 0 or position.step >= self.steps):
                self._validate(log)  # the training was stopped during this validation
            while position.step < self.steps:
                self._train_epoch(log)
                self._save()  # before the validation, which may take long
                self._validate(log)
            if log is not None:
                self.save_weights(self.out / "last.safetensors")
                log.say(f"finished after step {position.step}; best.safetensors and last.safetensors are in {self.out}")
        return position

    def _logging(self) -> AbstractContextManager[TrainingLog | None]:
        """The log, in the main process."""
        if not self.accelerator.is_main_process:
            return nullcontext()
        position = self.position
        return TrainingLog(self.out, step=position.step, total=self.steps, validated=position.validated)

    def _train_epoch(self, log: TrainingLog | None) -> None:
        """Train to the end of the epoch, or to the last step."""
        position, config, accelerator = self.position, self.config, self.accelerator
        remaining = self.data.batches(
            position.epoch, config.batch_size, accelerator.process_index, accelerator.num_processes
        )[position.batches :]
        batches = iter(self._loader(remaining))
        self.model.train()
        while position.batches < self.batches_per_epoch and position.step < self.steps:
            began = time.monotonic()
            count = min(config.gradient_accumulation_steps, self.batches_per_epoch - position.batches)
            some = [next(batches) for _ in range(count)]
            values = self._step([self._checked(batch) for batch in some])
            position.batches += len(some)
            position.step += 1
            position.loss_sum += values["loss"]
            position.loss_count += 1
            if log is not None:
                log.step(position.step, position.epoch, {**values, "seconds": time.monotonic() - began})
            if position.step % self.save_every == 0:
                self._save()
        if position.batches == self.batches_per_epoch:
            position.epoch += 1
            position.batches = 0
            self.schedule.step()

    def _loader(self, batches: list[BatchIndices]) -> DataLoader[TrainingBatch | Exception]:
        # Data sets hold functions, which only a forked process gets.
        workers = min(self.workers, len(batches)) if FORK in get_all_start_methods() else 0
        return DataLoader(
            cast(Dataset[TrainingBatch | Exception], self.data),
            batch_size=None,
            sampler=batches,
            num_workers=workers,
            multiprocessing_context=FORK if workers else None,
            generator=torch.Generator(),  # or the loader would use the generator whose state is in the checkpoints
        )

    def _checked(self, batch: TrainingBatch | Exception) -> TrainingBatch:
        if isinstance(batch, Exception):
            raise batch
        return batch.to(self.accelerator.device)

    def _step(self, batches: list[TrainingBatch]) -> dict[str, float]:
        """One step of the optimizer; the measurements, averaged over batches and processes."""
        measured: list[dict[str, Tensor]] = []
        for number, batch in enumerate(batches, start=1):
            if number < len(batches):
                with self.accelerator.no_sync(self.parallel):
                    measured.append(self._backward(batch, len(batches)))
            else:
                measured.append(self._backward(batch, len(batches)))
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        norm = self.accelerator.clip_grad_norm_(parameters, self.config.optimisation.max_grad_norm)
        assert norm is not None
        rate = self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()
        self.optimizer.zero_grad()
        means = torch.stack([torch.stack([one[name] for one in measured]).mean() for name in measured[0]])
        means = self.accelerator.reduce(means, "mean")
        assert isinstance(means, Tensor)
        values = dict(zip(measured[0], means.tolist(), strict=True))
        return {**values, "gradient_norm": float(norm), "rate": rate}

    def _backward(self, batch: TrainingBatch, share: int) -> dict[str, Tensor]:
        losses: TrainingLosses = self.parallel(batch)
        if not losses.total.isfinite():
            raise TrainingError(
                f"the loss of step {self.position.step + 1} is {losses.total.item()}, on {'; '.join(batch.names)}; "
                "resume with lower rates (--lr, --backbone-lr, --text-encoder-lr) or in float32 (--precision no)"
            )
        self.accelerator.backward(losses.total / share)
        return {"loss": losses.total.detach(), **{name: term.detach() for name, term in losses.terms.items()}}

    def _validate(self, log: TrainingLog | None) -> None:
        """Score the network, keep its weights if they are the best so far, and save a checkpoint."""
        position = self.position
        if self.validate is None:
            loss = position.loss_sum / position.loss_count
            values, score = {"epoch_loss": loss}, -loss
        else:
            self.model.eval()
            means = self.validate(position.step, self.accelerator)
            values, score = {"J&F": means.jf, "J": means.j, "F": means.f}, means.jf
        best = position.best is None or score > position.best
        if best:
            position.best = score
        if log is not None:
            log.validation(position.step, position.epoch - (position.batches == 0), values)
            if best:
                self.save_weights(self.out / "best.safetensors")
        position.validated = position.step
        position.loss_sum, position.loss_count = 0.0, 0
        self._save()

    def _save(self) -> None:
        random = gather_object([random_state()])
        if self.accelerator.is_main_process:
            parts = {name: part.state_dict() for name, part in self._parts().items()}
            self.checkpoints.save(
                TrainingState(
                    settings=self.settings,
                    changeable=self.config.changeable,
                    position=self.position,
                    parts=parts,
                    random=random,
                )
            )
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        process = self.accelerator.process_index
        state = self.checkpoints.latest(self.settings)
        if state is None:
            seed_everything(self.config.seed + process)
            return
        for name, part in self._parts().items():
            if name in state.parts:  # a training that was not in fp16 before has no scaler
                part.load_state_dict(state.parts[name])
        self.position = state.position
        self._restart_schedule()
        restore_random_state(state.random[process])
        if self.accelerator.is_main_process:
            for change in differences(state.changeable, self.config.changeable):
                log.info(f"resuming with a change: {change}")

    def _restart_schedule(self) -> None:
        """The learning rates of the configuration at the position's epoch; those of the checkpoint may be others."""
        optimizer = self.schedule.optimizer
        for group, rate in zip(optimizer.param_groups, self.rates, strict=True):
            group["lr"] = group["initial_lr"] = rate
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a schedule that is stepped before the optimizer
            self.schedule = self.config.optimisation.schedule(cast(AdamW, optimizer))
            for _ in range(self.position.epoch):
                self.schedule.step()

    def _parts(self) -> dict[str, Any]:
        """Everything with a state dict."""
        parts: dict[str, Any] = {"network": self.model.network, "optimizer": self.optimizer}
        if self.model.auxiliary is not None:
            parts["auxiliary"] = self.model.auxiliary
        return parts if self.accelerator.scaler is None else {**parts, "scaler": self.accelerator.scaler}
