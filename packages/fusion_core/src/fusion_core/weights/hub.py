"""Download files of a commit from the Hugging Face hub, or the mirror that `HF_ENDPOINT` names."""

import os
from pathlib import Path

from program_kit.weights_table import HubSource, PublishedFile

from fusion_core.weights import web
from fusion_core.weights.store import SUFFIXES, WeightsFilesError

HUB = "https://huggingface.co"
_REFUSED = f"its owner may give it only to some: ask on {HUB}, then set HF_TOKEN"


def endpoint() -> str:
    """Address of the hub or of a mirror."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB


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

    web.check_online(endpoint(), _by_hand(source, name))
    try:
        info = HfApi(endpoint=endpoint()).model_info(source.repository, revision=source.commit, files_metadata=True)
    except (HfHubHTTPError, HFValidationError, OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsFilesError(f"{source}: {_explained(error)}; {_by_hand(source, name)}") from error
    found = [
        PublishedFile(name=file.rfilename, size=file.size, sha256=file.lfs.sha256 if file.lfs else None)
        for file in info.siblings or ()
        if file.rfilename.endswith(SUFFIXES) and "/" not in file.rfilename
    ]
    if not any(file.name.endswith(".safetensors") for file in found):
        raise WeightsFilesError(f"{source}: has no .safetensors file, and files that could run code are not taken")
    return found


def download(source: HubSource, name: str, folder: Path, progress: web.Progress) -> Path:
    """Download a file of a commit, as `web.download` does; huggingface_hub itself forgets half a file.

    Raises:
        WeightsFilesError: it cannot be fetched.
    """
    from huggingface_hub import get_token, hf_hub_url

    url = hf_hub_url(source.repository, name, revision=source.commit, endpoint=endpoint())
    return web.download(url, folder / name, progress, token=get_token() or None, if_refused=_REFUSED)


def _by_hand(source: HubSource, name: str) -> str:
    """What to do where the hub cannot be reached."""
    mirror = f"HF_ENDPOINT names {endpoint()}" if endpoint() != HUB else "HF_ENDPOINT names a mirror"
    add = f"`uv run fusion-core weights add {name} FOLDER`"
    return f"copy the files of {source.page} from elsewhere, and run {add}; {mirror}"


def _explained(error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return _REFUSED
    if isinstance(error, RevisionNotFoundError):
        return "the repository has no such commit"
    if isinstance(error, HfHubHTTPError):
        code = error.response.status_code
        if code in {401, 403, 404}:
            return f"there is no such repository, or it is private: then set HF_TOKEN ({endpoint()} answers {code})"
        return f"{endpoint()} answers {code} {error.response.reason_phrase}; try again later"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"not what the hub sends ({lines[0] if lines else type(error).__name__})"
