"""Convert published weights to safetensors with the names of the model's program, by that program."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from program_kit.weights import named_weights
from program_kit.weights_folder import cached_sha256
from program_kit.weights_table import published, users_of

from fusion_core.running.environments import find_program
from fusion_core.weights.store import WeightsFilesError, record, working_on


def convert(name: str, status: Callable[[str], None]) -> Path:
    """Convert weights that are in the user's folder; programs take the converted file from then on.

    The file's metadata names the SHA-256 of the published one.

    Raises:
        WeightsError: there is no such name, or the weights are not there.
        ProgramError: the program is missing, or its environment cannot be made.
        WeightsFilesError: no program converts these weights, or the program refuses.
    """
    weights = published(name)
    users = users_of(name)
    if weights.is_folder or not users or not weights.tensors:
        raise WeightsFilesError(f"weights {name}: programs read them as they are; there is nothing to convert")
    (source,) = named_weights([name])
    if source.suffix == ".safetensors":
        return source
    command, config = users[0]
    program = find_program((command,))
    program.make_ready(status)
    with working_on(name, status) as folder:
        target = folder / f"{name}.safetensors"
        target.unlink(missing_ok=True)  # of a conversion that was not recorded
        status(f"{name}: {command} checkpoint convert")
        arguments = ["checkpoint", "convert", str(source), str(target), "--config", config]
        done = subprocess.run([*program.command, *arguments], capture_output=True, text=True, errors="replace")
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise WeightsFilesError("\n".join(lines) or f"{command} ended with exit code {done.returncode}")
        record(name, folder, f"{source} ({cached_sha256(source)})", {target.name: target}, target.name)
    return target
