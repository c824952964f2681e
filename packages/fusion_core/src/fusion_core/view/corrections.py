"""The corrections of one video: which mask every frame has, where it comes from, and what can be undone.

A correction puts masks in the place of those that a run has. Each (expression, frame) knows the line of the journal in
which its mask stands, 0 for the run's own; that number, and whether the frame is locked, is its revision. Undoing sets
the numbers back, so undoing and doing again need no masks, and work after a restart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import RLock

import numpy as np
import numpy.typing as npt
from mask_interchange.rle import check_counts, empty_mask

from fusion_core.errors import FusionCoreError
from fusion_core.view.bytes_cache import BytesCache
from fusion_core.view.journal import Journal, JournalError, Line, Strings, records

LINE_BYTES = 16 * 2**20
SETTLED = frozenset({"draw", "clear"})


class LockedError(FusionCoreError):
    """A correction of frames that are locked."""


class NothingToUndoError(FusionCoreError):
    """Nothing to undo or to do again."""


class ConflictError(FusionCoreError):
    """A correction of a mask that has changed since it was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one record changed: the numbers of lines and the locks of a stretch, before and after.

    Attributes:
        expression: number of the expression.
        start: first frame.
        before: owners int32 [N] and locks bool [N] before.
        after: the same after.
    """

    expression: int
    start: int
    before: tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]
    after: tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]

    @property
    def stop(self) -> int:
        """The frame after the last."""
        return self.start + len(self.before[0])


@dataclass(kw_only=True)
class Corrections:
    """The corrections of one video, in memory and on disk. Several threads may use it.

    Attributes:
        journal: where they stand.
        expressions: ids of the expressions, in order.
        revision: number of lines in the journal: grows with every change.
    """

    journal: Journal
    expressions: Sequence[str]
    lock: RLock = field(default_factory=RLock)

    def __post_init__(self) -> None:
        shape = len(self.expressions), self.journal.subject.frames
        self._owners = np.zeros(shape, np.int32)
        self._locked = np.zeros(shape, bool)
        self._done: list[Change] = []
        self._undone: list[Change] = []
        self._lines: BytesCache[list[bytes]] = BytesCache(LINE_BYTES, lambda masks: sum(map(len, masks)))
        try:
            for record in records(self.journal.lines):
                self._apply(record)
        except (IndexError, ValueError) as error:  # more undone than done, or an expression that there is not
            raise JournalError(
                f"{self.journal.path}: its records do not belong together ({error}); are the expressions those of then?"
            ) from error

    @property
    def revision(self) -> int:
        """Number of lines in the journal."""
        return len(self.journal.lines)

    @property
    def can_undo(self) -> bool:
        """Whether there is something to undo."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is something to do again."""
        return bool(self._undone)

    def is_corrected(self) -> bool:
        """Whether any frame has another mask than the run's own."""
        return bool(self._owners.any())

    def frame_revision(self, e: int, i: int) -> str:
        """Changes whenever the mask of a frame, or its lock, does."""
        return f"{self._owners[e, i]}{'L' if self._locked[e, i] else ''}"

    def kind(self, e: int, i: int) -> str | None:
        """Of the record that gave a frame its mask (`draw`, `take`, `propagate`, `clear`); None if it is the run's."""
        owner = int(self._owners[e, i])
        return self.journal.lines[owner - 1].kind if owner else None

    def is_settled(self, e: int, i: int) -> bool:
        """Whether the user has decided about a frame, so that no propagation changes it."""
        return bool(self._locked[e, i]) or self.kind(e, i) in SETTLED

    def mask(self, e: int, i: int) -> bytes | None:
        """The corrected run-length string of a frame; None if it is the run's own."""
        owner = int(self._owners[e, i])
        if not owner:
            return None
        line = self.journal.lines[owner - 1]
        if not line.has_masks:
            return empty_mask(self.journal.subject.size)
        return self._lines.get(owner, lambda: self.journal.masks(line))[i - line.start]

    def parts(self, e: int) -> list[dict[str, object]]:
        """The stretches of an expression that are corrected or locked: start, stop, kind, run and lock of each."""
        owners, locked = self._owners[e], self._locked[e]
        borders = np.flatnonzero(np.diff(owners) | np.diff(locked)) + 1
        found = []
        for start, stop in zip([0, *borders.tolist()], [*borders.tolist(), len(owners)], strict=True):
            if owners[start] or locked[start]:
                line = self.journal.lines[owners[start] - 1] if owners[start] else None
                found.append(
                    {
                        "start": start,
                        "stop": stop,
                        "kind": line and line.kind,
                        "run": line and line.run,
                        "locked": bool(locked[start]),
                    }
                )
        return found

    def draw(self, e: int, i: int, counts: bytes, seen: str) -> str:
        """Give a frame a mask; returns its new revision.

        Args:
            e: number of the expression.
            i: the frame.
            counts: the mask's run-length string.
            seen: revision of the frame that the mask was drawn over.

        Raises:
            ConflictError: the frame has another revision by now.
            LockedError: it is locked.
            MaskError: the string is no mask of the video's size.
            OSError: it cannot be written.
        """
        check_counts(counts, self.journal.subject.size)
        with self.lock:
            if seen != self.frame_revision(e, i):
                raise ConflictError(f"frame {i} was changed elsewhere")
            if self._locked[e, i]:
                raise LockedError(f"frame {i} is locked; unlock it first")
            self._write("draw", e, i, i + 1, masks=lambda *_: [counts])
            return self.frame_revision(e, i)

    def change(
        self,
        kind: str,
        e: int,
        start: int,
        stop: int,
        seen: int,
        *,
        masks: Strings | None = None,
        run: str | None = None,
    ) -> Change:
        """Take, clear, lock or unlock a stretch; taking and clearing leave out frames that are locked.

        Args:
            kind: `take`, `clear`, `lock` or `unlock`.
            e: number of the expression.
            start: first frame.
            stop: the one after the last.
            seen: revision of the video that the user saw.
            masks: to take.
            run: where they come from.

        Raises:
            ConflictError: the video has another revision by now.
            LockedError: every frame is locked.
            OSError: it cannot be written.
        """
        with self.lock:
            if seen != self.revision:
                raise ConflictError("the video was changed elsewhere")
            if kind in {"take", "clear"} and self._locked[e, start:stop].all():
                raise LockedError(f"frames {start} to {stop - 1} are locked; unlock them first")
            return self._write(kind, e, start, stop, masks=masks, run=run)

    def carry(self, e: int, start: int, stop: int, masks: Sequence[bytes], program: str) -> Change:
        """Give frames start..stop-1 the masks that a program has propagated; settled frames are left out.

        Raises:
            OSError: it cannot be written.
        """
        with self.lock:
            return self._write(
                "propagate", e, start, stop, masks=lambda a, b: masks[a - start : b - start], run=program
            )

    def undo(self) -> Change:
        """Undo the last change that is not undone; returns it.

        Raises:
            NothingToUndoError: there is none.
            OSError: it cannot be written.
        """
        with self.lock:
            if not self._done:
                raise NothingToUndoError("nothing to undo")
            change = self._done[-1]
            self._apply(self.journal.append("undo"))
            return change

    def redo(self) -> Change:
        """Do again what was undone last; returns it.

        Raises:
            NothingToUndoError: there is nothing.
            OSError: it cannot be written.
        """
        with self.lock:
            if not self._undone:
                raise NothingToUndoError("nothing to do again")
            change = self._undone[-1]
            self._apply(self.journal.append("redo"))
            return change

    def _write(
        self,
        kind: str,
        e: int,
        start: int,
        stop: int,
        masks: Strings | None = None,
        run: str | None = None,
    ) -> Change:
        self._apply(self.journal.append(kind, self.expressions[e], start, stop, masks=masks, run=run))
        return self._done[-1]

    def _apply(self, record: Sequence[Line]) -> None:
        """Carry out a record, just written or read again."""
        kind = record[0].kind
        if kind == "undo":
            change = self._done.pop()
            self._set(change, change.before)
            self._undone.append(change)
        elif kind == "redo":
            change = self._undone.pop()
            self._set(change, change.after)
            self._done.append(change)
        else:
            change = self._change(record)
            self._set(change, change.after)
            self._done.append(change)
            self._undone.clear()

    def _change(self, record: Sequence[Line]) -> Change:
        assert record[0].expression is not None  # only undo and redo have none
        e = self.expressions.index(record[0].expression)
        start, stop = record[0].start, record[-1].stop
        before = self._owners[e, start:stop].copy(), self._locked[e, start:stop].copy()
        owners, locked = before[0].copy(), before[1].copy()
        if record[0].kind in {"lock", "unlock"}:
            locked[:] = record[0].kind == "lock"
        else:
            for line in record:
                free = ~locked[line.start - start : line.stop - start]
                if line.kind == "propagate":
                    free &= [self.kind(e, i) not in SETTLED for i in range(line.start, line.stop)]
                owners[line.start - start : line.stop - start][free] = line.number
        return Change(expression=e, start=start, before=before, after=(owners, locked))

    def _set(self, change: Change, state: tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]) -> None:
        self._owners[change.expression, change.start : change.stop] = state[0]
        self._locked[change.expression, change.start : change.stop] = state[1]
