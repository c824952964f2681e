"""The journal: nothing that was answered is lost, whatever is killed; and corrections in memory are those on disk."""

import os
from pathlib import Path

import numpy as np
import pytest
from fusion_core.view import journal as module
from fusion_core.view.corrections import Corrections, NothingToUndoError
from fusion_core.view.journal import Journal, JournalError, Subject
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mask_interchange import encode_mask

SIZE, FRAMES, EXPRESSIONS = (4, 5), 7, ("0", "1")
SUBJECT = Subject(video="dog", size=SIZE, frames=FRAMES, source="final")


def picture(number: int) -> bytes:
    """A mask that tells its number."""
    bits = [number >> k & 1 for k in range(20)]
    return encode_mask(np.array(bits, bool).reshape(SIZE))


def reopened(path: Path) -> Corrections:
    return Corrections(journal=Journal(path, SUBJECT), expressions=EXPRESSIONS)


def drawn(corrections: Corrections) -> list[list[bytes | None]]:
    return [[corrections.mask(e, i) for i in range(FRAMES)] for e in range(2)]


class Machine(RuleBasedStateMachine):
    """Corrections against lists of masks; every state that there was is kept, to be undone to."""

    @initialize()
    def start(self):
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "edits" / "dog.jsonl"
        self.corrections = reopened(self.path)
        self.done = [([[None] * FRAMES for _ in EXPRESSIONS], [[False] * FRAMES for _ in EXPRESSIONS])]
        self.undone = []
        self.count = 0

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def change(self, e, frames, mask=None, lock=None):
        masks, locks = ([list(one) for one in kind] for kind in self.done[-1])
        for k, i in enumerate(frames):
            if lock is not None:
                locks[e][i] = lock
            elif not locks[e][i]:
                masks[e][i] = mask(k)
        self.done.append((masks, locks))
        self.undone.clear()

    @rule(e=st.integers(0, 1), i=st.integers(0, FRAMES - 1))
    def draw(self, e, i):
        if self.done[-1][1][e][i]:
            return
        self.count += 1
        mask = picture(self.count)
        self.corrections.draw(e, i, mask, self.corrections.frame_revision(e, i))
        self.change(e, [i], lambda _: mask)

    @rule(e=st.integers(0, 1), ends=st.tuples(*[st.integers(0, FRAMES)] * 2), kind=st.sampled_from(["take", "clear"]))
    def replace(self, e, ends, kind):
        start, stop = sorted(ends)
        if start == stop or all(self.done[-1][1][e][start:stop]):
            return
        self.count += 10
        first = self.count
        taken = (lambda a, b: [picture(first + i) for i in range(a, b)]) if kind == "take" else None
        self.corrections.change(kind, e, start, stop, self.corrections.revision, masks=taken, run="soc")
        self.change(e, range(start, stop), (lambda k: picture(first + start + k)) if taken else lambda _: picture(0))

    @rule(e=st.integers(0, 1), ends=st.tuples(*[st.integers(0, FRAMES)] * 2), lock=st.booleans())
    def lock(self, e, ends, lock):
        start, stop = sorted(ends)
        if start < stop:
            self.corrections.change("lock" if lock else "unlock", e, start, stop, self.corrections.revision)
            self.change(e, range(start, stop), lock=lock)

    @precondition(lambda self: len(self.done) > 1)
    @rule()
    def undo(self):
        self.corrections.undo()
        self.undone.append(self.done.pop())

    @precondition(lambda self: self.undone)
    @rule()
    def redo(self):
        self.corrections.redo()
        self.done.append(self.undone.pop())

    @rule()
    def restart(self):
        self.corrections = reopened(self.path)

    @invariant()
    def same(self):
        if not hasattr(self, "corrections"):
            return
        masks, locks = self.done[-1]
        assert drawn(self.corrections) == masks
        assert [[f.endswith("L") for f in row] for row in self.revisions()] == locks
        assert (self.corrections.can_undo, self.corrections.can_redo) == (len(self.done) > 1, bool(self.undone))

    def revisions(self):
        return [[self.corrections.frame_revision(e, i) for i in range(FRAMES)] for e in range(2)]


@pytest.fixture(autouse=True)
def two_masks_a_line(monkeypatch):
    monkeypatch.setattr(module, "MASKS_A_LINE", 2)


class TestCorrections(Machine.TestCase):
    settings = settings(max_examples=30, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def written(tmp_path):
    """A journal of three records, the second of several lines; the state after each record, by the bytes then."""
    path = tmp_path / "dog.jsonl"
    corrections = reopened(path)
    states = {}

    def note():
        states[path.stat().st_size] = drawn(corrections)

    corrections.draw(0, 3, picture(5), "0")
    note()
    taken = lambda a, b: [picture(i) for i in range(a, b)]  # noqa: E731
    corrections.change("take", 1, 0, 6, corrections.revision, masks=taken, run="soc")
    note()
    corrections.undo()
    note()
    return path, states


def test_cut_at_any_byte_every_whole_record_is_there(written):
    path, states = written
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for size in range(first, len(whole) + 1):
        path.write_bytes(whole[:size])
        corrections = reopened(path)
        before = [state for end, state in states.items() if end <= size]
        assert drawn(corrections) == (before[-1] if before else [[None] * FRAMES] * 2), size
        if size % 40 == 0:
            corrections.draw(0, 6, picture(9), "0")  # goes on behind the last whole record
            assert reopened(path).mask(0, 6) == picture(9)


def test_damage_before_the_end_is_said_and_nothing_is_written(written):
    path, _ = written
    whole = path.read_bytes()
    at = whole.index(b"zlib", whole.index(b"\n")) + 9
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    damaged = path.read_bytes()
    with pytest.raises(JournalError, match=r"dog\.jsonl: line 2 is damaged .*; restore the file from a copy"):
        reopened(path)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("at", range(4))
def test_a_failed_write_leaves_no_trace(written, monkeypatch, at):
    """The disk is full at the write, the flush or the sync of a record; or the masks to take cannot be read."""
    path, states = written
    corrections, before = reopened(path), path.read_bytes()
    calls = []

    def masks(a, b):
        calls.append(a)
        if at == 3 and len(calls) == 2:
            raise OSError(5, "I/O error")
        return [picture(i) for i in range(a, b)]

    class Full:
        def __init__(self, file):
            self._file = file

        def __getattr__(self, name):
            if name == ("write", "flush", "fileno", "")[at]:
                raise OSError(28, "No space left on device")
            return getattr(self._file, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

    monkeypatch.setattr(module, "open", lambda *arguments: Full(open(*arguments)), raising=False)  # noqa: SIM115
    with pytest.raises(OSError):
        corrections.change("take", 0, 0, 6, corrections.revision, masks=masks, run="soc")
    assert path.read_bytes() == before
    monkeypatch.undo()
    assert drawn(corrections) == drawn(reopened(path)) == list(states.values())[-1]
    corrections.draw(0, 0, picture(3), "0")
    assert reopened(path).mask(0, 0) == picture(3)


def test_a_record_is_on_the_disk_before_it_counts(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(module.os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_size), fsync(handle)))
    corrections = reopened(tmp_path / "dog.jsonl")
    for i in range(3):
        corrections.draw(0, i, picture(i), "0")
        assert synced[-1] == corrections.journal.path.stat().st_size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video": "cat"}, "video dog, but the video here is cat"),
        ({"frames": 8}, "frames 7, but the frames here is 8"),
        ({"size": (5, 4)}, "size"),
        ({"source": "soc"}, "source final, but the source here is soc"),
    ],
)
def test_a_journal_of_something_else_is_refused(written, change, message):
    path, _ = written
    described = {"video": "dog", "size": SIZE, "frames": FRAMES, "source": "final"} | change
    with pytest.raises(JournalError, match=message):
        Journal(path, Subject(**described))


@pytest.mark.parametrize("text", [b"", b"{}\n", b"no journal\n", b'{"version": 9, "crc": 1}\n', b"\x00" * 100])
def test_what_is_no_journal_is_refused(tmp_path, text):
    (tmp_path / "dog.jsonl").write_bytes(text)
    with pytest.raises(JournalError):
        reopened(tmp_path / "dog.jsonl")


def test_expressions_that_are_gone_are_said(written):
    path, _ = written
    with pytest.raises(JournalError, match="are the expressions those of then"):
        Corrections(journal=Journal(path, SUBJECT), expressions=("x",))


def test_there_is_an_end_to_undoing(tmp_path):
    corrections = reopened(tmp_path / "dog.jsonl")
    for turn in (corrections.undo, corrections.redo):
        with pytest.raises(NothingToUndoError):
            turn()
    assert not (tmp_path / "dog.jsonl").exists()
