"""Names and shapes of the tensors in a checkpoint file, without torch. No code of a file runs, no tensor is read."""

import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from mask_interchange.files import open_regular

from program_kit.errors import CheckpointError
from program_kit.origin import LONGEST_HEADER, SUFFIX

MAX_NAMES = 2**26  # bytes of the pickle in a file, which names its tensors
WRAPPERS = ("model_state_dict", "model", "state_dict")  # where training scripts put the weights
PARALLEL_PREFIX = "module."
LEGACY_PREAMBLE = 3  # pickles before the weights in files of torch before 1.6: magic number, version, machine
HEAD = 512  # bytes at the beginning of a file, enough to know a page or a pointer
WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype|!--|html|head|body|script|\?xml)", re.IGNORECASE)
GIT_LFS = b"version https://git-lfs.github.com/spec/"

Shape = tuple[int, ...]


def tensor_shapes(path: Path) -> Mapping[str, Shape]:
    """The tensors of a file written by `torch.save` or safetensors; wrappers and the prefix `module.` are taken off.

    Raises:
        CheckpointError: the file is missing, not whole, or of another kind.
    """
    if (what := stranger(path)) is not None:
        raise CheckpointError(f"{path}: {what}")
    try:
        with open_regular(path) as file:
            if path.suffix == SUFFIX:
                return _of_safetensors(file, path.stat().st_size)
            return _of_pickle(file)
    except Exception as error:  # bytes of any kind may raise anything here
        raise CheckpointError(f"{path}: damaged, not whole, or not a checkpoint; fetch it again") from error


def stranger(path: Path) -> str | None:
    """What a download often leaves in place of a checkpoint, in words; None for any other file."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if not head:
        return "is empty; download the file again"
    if WEB_PAGE.match(head):
        return "is a web page, not a checkpoint: the site sent a page instead of the file; download the file again"
    if head.startswith(GIT_LFS):
        return (
            "is a Git-LFS pointer, which stands for the checkpoint; run `git lfs pull` in its repository, or download "
            "the file again from its page"
        )
    return None


def _of_safetensors(file: IO[bytes], size: int) -> Mapping[str, Shape]:
    length = int.from_bytes(file.read(8), "little")
    if length > min(LONGEST_HEADER, size):
        raise ValueError("no header")
    header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    if 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0) != size:
        raise ValueError("not whole")
    return _plain({name: tuple(entry["shape"]) for name, entry in header.items()})


def _of_pickle(file: IO[bytes]) -> Mapping[str, Shape]:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            member = next(one for one in archive.infolist() if one.filename.split("/")[-1] == "data.pkl")
            if member.file_size > MAX_NAMES:
                raise ValueError("too many names")
            content = _ShapesOnly(BytesIO(archive.read(member))).load()
    else:
        file.seek(0)
        content = _ShapesOnly(file).load()
        if not isinstance(content, dict):
            for _ in range(LEGACY_PREAMBLE):
                content = _ShapesOnly(file).load()
    content = next((content[key] for key in WRAPPERS if isinstance(content.get(key), dict)), content)
    found = {name: value.shape for name, value in content.items() if isinstance(value, _Tensor)}
    if not found:
        raise ValueError("no tensors")
    return _plain(found)


def _plain(shapes: dict[str, Shape]) -> dict[str, Shape]:
    if not all(name.startswith(PARALLEL_PREFIX) for name in shapes):
        return shapes
    return {name.removeprefix(PARALLEL_PREFIX): shape for name, shape in shapes.items()}


@dataclass(frozen=True, slots=True)
class _Tensor:
    shape: Shape


class _Anything:
    """Stands for every class and function that a pickle names; it takes all that is done to it, and does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> "_Anything":
        return super().__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        pass


def _rebuilt(*args: Any) -> object:
    """What functions of `torch._utils` make: a tensor of storage, offset and size, or a parameter of a tensor."""
    return args[0] if isinstance(args[0], _Tensor) else _Tensor(tuple(args[2]))


class _ShapesOnly(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue]
    """The unpickler in Python: that in C allocates as much as a place in the memo claims."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        return _rebuilt if module == "torch._utils" and name.startswith("_rebuild_") else _Anything

    def persistent_load(self, pid: object) -> None:
        """Storages, which stay unread."""
