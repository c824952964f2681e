"""Download a file from Google Drive with gdown, where the quota of the file allows."""

import re
from pathlib import Path

import gdown

from fusion_core.weights.store import WeightsFilesError


def download(page: str, target: Path) -> Path:
    """Download the file of a page into `target`; an earlier half is continued.

    Raises:
        WeightsFilesError: Drive does not give it.
    """
    match = re.fullmatch(r"https://drive\.google\.com/file/d/([\w-]+)", page)
    if match is None:
        raise WeightsFilesError(f"{page}: not the page of a file on Google Drive")
    try:
        found = gdown.download(id=match[1], output=str(target), resume=True)
    except Exception as error:  # the library raises many types
        raise WeightsFilesError(f"{page}: Google Drive does not give it ({error})") from error
    if found is None:
        raise WeightsFilesError(f"{page}: Google Drive does not give it; its quota may be used up for today")
    return target
