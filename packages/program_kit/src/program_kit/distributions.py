"""Names of the distributions: in the workspace, and on an index (docs/adr/0010-names-on-an-index.md)."""

from importlib.metadata import PackageNotFoundError, version

PREFIX = "rvos-"


def published_name(name: str) -> str:
    """The name that a distribution of the workspace has on an index: `rvos-soc` for `soc`."""
    return name if name.startswith(PREFIX) else PREFIX + name


def version_of(name: str) -> str:
    """The version of a distribution of the workspace, which is installed under this or its published name.

    Raises:
        PackageNotFoundError: it is installed under neither.
    """
    try:
        return version(published_name(name))
    except PackageNotFoundError:
        return version(name)
