"""Write checkpoint files."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from mask_interchange.files import replace_whole
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from program_kit.errors import CheckpointError
from program_kit.origin import SUFFIX, Origin
from program_kit.torch.checkpoint.reading import CHECKSUM, tensors_sha256


def write_checkpoint(path: Path, state: Mapping[str, Tensor], origin: Origin) -> None:
    """Write weights as safetensors, whole or not at all, with where they came from; makes the folder.

    Equal weights of equal origin become equal bytes.

    Args:
        path: a name that ends in `.safetensors`; a file that is there is replaced.
        state: our names to tensors, on any device. Numbers are written in the precision that they have.
        origin: becomes the metadata of the file.

    Raises:
        CheckpointError: the name ends otherwise, or the file cannot be written.
    """
    check_target(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}

    def write(temporary: Path) -> None:
        temporary.touch()
        mode = temporary.stat().st_mode  # as for any new file of the user; safetensors lets nobody else read its files
        try:
            save_file(tensors, temporary, {**origin.metadata, CHECKSUM: "0" * 64})
        except SafetensorError as error:
            raise _system_error(error) from error
        _finish_metadata(temporary)
        temporary.chmod(mode)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, write)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from error


def _system_error(error: SafetensorError) -> Exception:
    """The system's error, which the library only quotes; its own where there is none."""
    number = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else error


def _finish_metadata(path: Path) -> None:
    """Fill in the checksum, and sort the metadata, which the library writes in an order that changes."""
    checksum = tensors_sha256(path)
    with path.open("rb+") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted({**header["__metadata__"], CHECKSUM: checksum}.items()))
        finished = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(length)
        assert len(finished) == length  # the same entries in the same notation
        file.seek(8)
        file.write(finished)


def check_target(path: Path) -> None:
    """See that a file to be written has the right ending.

    Raises:
        CheckpointError: it has another.
    """
    if path.suffix != SUFFIX:
        raise CheckpointError(f"{path}: weights are written as *{SUFFIX}; give the file such a name")
