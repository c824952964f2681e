"""Write checkpoint files."""

from collections.abc import Mapping
from pathlib import Path

from mask_interchange.files import replace_whole
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from program_kit.errors import CheckpointError
from program_kit.torch.checkpoint.reading import SUFFIX, Origin


def write_checkpoint(path: Path, state: Mapping[str, Tensor], origin: Origin) -> None:
    """Write weights as safetensors, whole or not at all, with where they came from; makes the folder.

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
        save_file(tensors, temporary, origin.metadata)
        temporary.chmod(mode)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_whole(path, write)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be written ({error})") from error


def check_target(path: Path) -> None:
    """See that a file to be written has the right ending.

    Raises:
        CheckpointError: it has another.
    """
    if path.suffix != SUFFIX:
        raise CheckpointError(f"{path}: weights are written as *{SUFFIX}; give the file such a name")
