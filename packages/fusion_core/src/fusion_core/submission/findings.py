"""What a check of a submission finds."""

from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What can be wrong, in the words that users see. After the first ones, the rest cannot be checked."""

    NOT_A_ZIP = "not a readable zip file"
    TOO_LARGE = "suspicious size (zip bomb?)"
    UNSAFE_NAME = "unsafe name"
    WRONG_TOP = "masks in another folder than the challenge looks into"
    WRONG_DEPTH = "not at <video>/<expression>/<frame>.png"
    UNEXPECTED_FILE = "file that is no mask"
    DUPLICATE = "mask stored twice"
    UNREADABLE = "unreadable file"
    WRONG_MODE = "not an 8-bit grey PNG"
    WRONG_VALUE = "values other than 0 and 255"
    WRONG_SIZE = "wrong size"
    MISSING_VIDEO = "missing video"
    EXTRA_VIDEO = "video that is not asked for"
    MISSING_EXPRESSION = "missing expression"
    EXTRA_EXPRESSION = "expression that is not asked for"
    MISSING_FRAME = "missing frames"
    EXTRA_FRAME = "frames that are not asked for"
    ALL_EMPTY = "every mask of the expression is empty"
    ALL_WHITE = "every mask of the expression is all white"


WARNINGS = frozenset({Kind.ALL_EMPTY, Kind.ALL_WHITE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong: where in the zip file, and the details."""

    kind: Kind
    where: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}" if self.detail else self.where


@dataclass(slots=True, kw_only=True)
class SubmissionCheck:
    """What a check has found.

    Attributes:
        findings: faults and warnings, in the order of `Kind`.
        masks: mask files that were found.
        videos: videos that they belong to.
        complete: whether completeness was checked against a data set.
    """

    findings: list[Finding] = field(default_factory=list)
    masks: int = 0
    videos: int = 0
    complete: bool = False

    @property
    def faults(self) -> list[Finding]:
        """What makes the submission fail or score wrongly."""
        return [finding for finding in self.findings if finding.kind not in WARNINGS]

    @property
    def warnings(self) -> list[Finding]:
        """What is allowed and rarely meant."""
        return [finding for finding in self.findings if finding.kind in WARNINGS]

    def by_kind(self) -> dict[Kind, list[Finding]]:
        """Findings by kind, kinds in their order."""
        groups = {kind: [one for one in self.findings if one.kind is kind] for kind in Kind}
        return {kind: group for kind, group in groups.items() if group}
