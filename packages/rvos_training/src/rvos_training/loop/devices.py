"""The devices and processes of a training."""

import os

import torch
from accelerate import Accelerator
from program_kit.messages import log

from rvos_training.errors import TrainingError

# What `accelerate launch` sets: the first always, the second for several processes, the last where it starts them.
LAUNCHED, SEVERAL, STARTED = "ACCELERATE_MIXED_PRECISION", "MASTER_PORT", "WORLD_SIZE"


def open_devices(device: str, precision: str) -> Accelerator:
    """The devices to train on; says which, and how many processes there are.

    Args:
        device: `auto` or `cpu`.
        precision: as of `TrainConfig`.

    Raises:
        TrainingError: the device does not compute in this precision.
    """
    if precision == "fp16" and (device == "cpu" or not torch.accelerator.is_available()):
        raise TrainingError("precision fp16: a CPU would train in float32 without saying so; use bf16, no, or a GPU")
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=precision)
    if accelerator.is_main_process:
        count = accelerator.num_processes
        processes = "1 process" if count == 1 else f"{count} processes"
        arithmetic = "float32" if precision == "no" else precision
        log.info(f"training in {processes} on {accelerator.device.type}, {arithmetic}")
        if LAUNCHED in os.environ and SEVERAL in os.environ and STARTED not in os.environ:
            log.warning(
                "accelerate was asked for several processes and started one, as it does on a CPU; start them with "
                "torchrun --nproc_per_node COUNT -m ... instead"
            )
    return accelerator
