"""Failures to write a file, in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rvos_training.errors import TrainingError


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Make the failure to write `path` a TrainingError that names it and says how to go on."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error.__context__ if isinstance(error.__context__, OSError) else error  # torch hides the system's own
        raise TrainingError(
            f"{path}: cannot be written ({cause}); the same command resumes from the last checkpoint"
        ) from cause
