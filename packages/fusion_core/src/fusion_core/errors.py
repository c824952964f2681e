"""User errors; each message says what to do."""


class FusionCoreError(Exception):
    """Base of all user errors of this package; the message is complete on its own.

    The command line prints it as one line and exits with code 2.
    """


class SubmissionError(FusionCoreError):
    """A submission that cannot be written or read at all. (Faults inside a readable one are findings, not errors.)"""


class RecipeError(FusionCoreError):
    """A recipe or a vote that cannot be carried out.

    Attributes:
        at: keys that lead to the mistake in a recipe file, for example `("vote", "final", "members")`.
    """

    def __init__(self, message: str, at: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.at = at


class PairingError(FusionCoreError):
    """Members of a vote without what its pairing rule needs."""


class MemberError(FusionCoreError):
    """Members of a vote that are missing or do not match."""


class ProgramError(FusionCoreError):
    """A program of a recipe that does not exist or cannot be started."""
