"""What can go wrong, in terms the user can act on."""

from program_kit.errors import ProgramKitError


class PromptError(ProgramKitError):
    """A file of prompts that cannot be read, or a prompt that does not fit the video."""
