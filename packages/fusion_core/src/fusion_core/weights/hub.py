"""Download files of a commit from the Hugging Face hub, or the mirror that `HF_ENDPOINT` names."""

import os
from collections.abc import Sequence
from pathlib import Path

from program_kit.weights_table import HubSource, PublishedFile

from fusion_core.weights.store import SUFFIXES, WeightsFilesError
from fusion_core.weights.web import check_online


def endpoint() -> str:
    """Address of the hub or of a mirror."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def listed_files(source: HubSource, name: str) -> list[PublishedFile]:
    """The files of a commit that programs may read, with sizes, and hashes where the hub has them.

    Args:
        source: the commit.
        name: by which the user asked for it.

    Raises:
        WeightsFilesError: the hub cannot be reached, or has no such commit, or no safetensors in it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    check_online(endpoint(), _by_hand(source, name))
    try:
        info = HfApi(endpoint=endpoint()).model_info(source.repository, revision=source.commit, files_metadata=True)
    except (HfHubHTTPError, HFValidationError, OSError, ValueError) as error:
        raise WeightsFilesError(f"{source}: {_explained(error)}; {_by_hand(source, name)}") from error
    found = [
        PublishedFile(name=file.rfilename, size=file.size, sha256=file.lfs.sha256 if file.lfs else None)
        for file in info.siblings or ()
        if file.rfilename.endswith(SUFFIXES) and "/" not in file.rfilename
    ]
    if not any(file.name.endswith(".safetensors") for file in found):
        raise WeightsFilesError(f"{source}: has no .safetensors file, and files that could run code are not taken")
    return found


def download(source: HubSource, names: Sequence[str], folder: Path) -> None:
    """Download files into a folder. Half a file stays in its hidden folder `.cache`, and is continued.

    Raises:
        WeightsFilesError: a file cannot be fetched.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    for name in names:
        try:
            hf_hub_download(
                source.repository, name, revision=source.commit, local_dir=folder, endpoint=endpoint(), etag_timeout=30
            )
        except (HfHubHTTPError, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno:
                raise  # of the disk
            raise WeightsFilesError(
                f"{source}: {name}: {_explained(error)}; what is there of it is kept, the same command continues"
            ) from error


def _by_hand(source: HubSource, name: str) -> str:
    """What to do where the hub cannot be reached."""
    return (
        f"copy the files of {endpoint()}/{source.repository}/tree/{source.commit} from elsewhere, and run "
        f"`fusion-core weights add {name} FOLDER`; HF_ENDPOINT names a mirror"
    )


def _explained(error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return f"its owner grants access by request: ask on {endpoint()}, then set HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return "the repository has no such commit"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no such repository, or it is private: then set HF_TOKEN"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"not what the hub sends ({lines[0] if lines else type(error).__name__:.200})"
