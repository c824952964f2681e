"""How the zip files of challenges differ."""

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class SubmissionForm:
    """Where a challenge looks for masks.

    Attributes:
        name: of the data set, as `--for` takes it.
        top: the folder above those of the videos; empty if these stand at the top of the zip file.
    """

    name: str
    top: str

    @property
    def layout(self) -> str:
        """The place of a mask, for people."""
        return str(PurePosixPath(self.top, "<video>", "<expression>", "<frame>.png"))

    def entry(self, video: str, expression: str, frame: str) -> str:
        """The name of a mask in the zip file."""
        return str(PurePosixPath(self.top, video, expression, f"{frame}.png"))


REF_YOUTUBE_VOS = SubmissionForm("ref-youtube-vos", "Annotations")
MEVIS = SubmissionForm("mevis", "")
FORMS = {form.name: form for form in (REF_YOUTUBE_VOS, MEVIS)}
