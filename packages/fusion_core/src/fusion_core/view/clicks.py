"""Masks of what the user clicks at in one frame, found by SAM 2 in a process of its own that stays."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Self

from program_kit.prompts import Prompt
from program_kit.weights_folder import stored
from program_kit.weights_table import fetching, needs_of

from fusion_core.errors import FusionCoreError, ProgramError
from fusion_core.running.environments import find_program
from fusion_core.view.corrected_run import CorrectedRun
from fusion_core.view.library import CACHES
from fusion_core.view.warm_program import WarmProgram

PROGRAM = "sam2-propagate"


class NoClicksError(FusionCoreError):
    """Clicks where no program answers them."""


def lacking_weights() -> str | None:
    """What to do so that there are weights for clicks; None if there are."""
    networks = [list(needs.weights.values()) for needs in needs_of(PROGRAM).values()]
    if any(all(stored(name) for name in names) for names in networks):
        return None
    return f"clicks need SAM 2.1: {fetching(networks[0])}"


class Clicks:
    """The program that answers clicks.

    Args:
        corrected: whose videos are clicked at.
        data: options of programs that name the data set or video.
        command: its command line.

    Attributes:
        problem: why there are no clicks, in words; None if there are.
    """

    def __init__(self, corrected: CorrectedRun, data: Sequence[str], command: Sequence[str] = (PROGRAM,)) -> None:
        self._corrected = corrected
        folder = corrected.library.folder / CACHES / "clicks"
        self._program = WarmProgram(command, data, corrected.library.dataset.name, folder)
        self._one_at_a_time = Lock()
        self.problem = lacking_weights() if command[0] == PROGRAM else None
        try:
            find_program(command)
        except ProgramError as error:
            self.problem = str(error)

    def mask(self, v: int, prompt: Prompt) -> bytes:
        """The run-length string of what a prompt points at in its frame; nothing is stored.

        Raises:
            NoClicksError: there is no such program, or it has no weights.
            InputError: the prompt is not in the video.
            FusionCoreError, MaskInterchangeError, OSError: the program cannot; says why.
        """
        if self.problem is not None:
            raise NoClicksError(self.problem)
        opened = self._corrected.library.open(v)
        prompt.check("click", opened.size, opened.frames)
        with self._one_at_a_time:
            details = {"frames": f"{prompt.frame}:{prompt.frame + 1}", "prompts": {"click": described(prompt)}}
            [track] = self._program.order(opened.video.id, details).tracks
            return track.counts(prompt.frame)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the program."""
        self._program.end()


def described(prompt: Prompt) -> Mapping[str, object]:
    """A prompt as JSON (`program_kit.prompts`)."""
    box = {} if prompt.box is None else {"box": prompt.box}
    return {"frame": prompt.frame, "points": prompt.points, "labels": prompt.labels, **box}
