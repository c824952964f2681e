"""What can go wrong, in words the user can act on."""


class FusionCoreError(Exception):
    """Base of every expected error of this package; the message is complete on its own.

    The command line prints it as one line and exits with code 2.
    """


class SubmissionError(FusionCoreError):
    """A submission that cannot be written or read at all (faults inside a readable one are findings, not errors)."""


class RecipeError(FusionCoreError):
    """A recipe or a vote that cannot be carried out.

    Attributes:
        at: keys that lead to the fault in a recipe file, for example `("vote", "final", "members")`.
    """

    def __init__(self, message: str, at: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.at = at


class PairingError(FusionCoreError):
    """Members of a vote that do not say what its pairing rule needs to know."""


class MemberError(FusionCoreError):
    """Members of a vote that are missing or do not fit together."""


class ProgramError(FusionCoreError):
    """A program of a recipe that is not there or cannot be started."""


class ConversionError(FusionCoreError):
    """A run that cannot be made of other files."""
