"""What attacks by mutated files have in common: mutations, and a loop that survives what they do."""

import argparse
import collections
import os
import random
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

MEMORY, SECONDS, HANG = 500 * 2**20, 5.0, 120
AT_ONCE = 500  # mutations of one process: a crash of the interpreter costs no more
FAILURES = ("uncaught", "over 500 MB", "over 5 s")
VALUES = (0, 1, -1, 2, 3, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, -(2**63))
TEXTS = ("", "x", "0", "00000", "../x", "CON", "a/b", "\0", "é" * 90, "9" * 5000, "x" * 100_000, "11", "0o" * 9, "null")


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Mutations of one kind of file, and the door that they come in by.

    Attributes:
        originals: writes whole files into a folder; each is mutated in turn.
        mutated: the bytes of a mutated file.
        read: opens the door.
        refusals: the documented errors of this door.
    """

    originals: Callable[[Path], list[Path]]
    mutated: Callable[[Path, random.Random], bytes]
    read: Callable[[Path], object]
    refusals: tuple[type[Exception], ...]

    def run(self, name: str, number: int, seed: int) -> collections.Counter[str]:
        """Try so many mutations and count how they end; those that end badly are kept in the temporary folder."""
        ends = collections.Counter(dict.fromkeys(("read", "refused", *FAILURES), 0))
        with tempfile.TemporaryDirectory() as folder:
            (base := Path(folder) / "whole").mkdir()
            files = self.originals(base)
            for start in range(0, number, AT_ONCE):
                read, write = os.pipe()
                child = os.fork()
                if child == 0:
                    try:
                        for place in range(start, min(start + AT_ONCE, number)):
                            os.write(write, f"{self._try(name, files, Path(folder), seed, place)}\n".encode())
                        os._exit(0)
                    except BaseException:
                        traceback.print_exc()
                    finally:
                        os._exit(1)
                os.close(write)
                with os.fdopen(read) as answers:
                    ends.update(answer.strip() for answer in answers)
                if os.waitpid(child, 0)[1] != 0:
                    ends["uncaught"] += 1
        return ends

    def report(self, name: str, number: int, seed: int) -> int:
        """Print how so many mutations end; the exit code of the command: 1 if one ends badly."""
        ends = self.run(name, number, seed)
        print(f"{name}: tried {number}: " + ", ".join(f"{end} {count}" for end, count in ends.items()))
        return int(any(ends[end] for end in FAILURES))

    def _try(self, name: str, files: list[Path], folder: Path, seed: int, place: int) -> str:
        chance = random.Random(f"{seed} {place}")
        whole = files[place % len(files)]
        path = folder / f"mutated{whole.suffix}"
        path.write_bytes(self.mutated(whole, chance))
        signal.alarm(HANG)  # ends the process, which then counts as uncaught
        end = self._end(path)
        signal.alarm(0)
        if end in FAILURES:
            path.replace(Path(tempfile.gettempdir()) / f"{name}-{seed}-{place}{whole.suffix}")
        return end

    def _end(self, path: Path) -> str:
        warnings.simplefilter("ignore")
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        try:
            self.read(path)
            end = "read"
        except self.refusals:
            end = "refused"
        except BaseException:
            traceback.print_exc()
            end = "uncaught"
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        if grown > MEMORY:
            return "over 500 MB"
        return "over 5 s" if time.monotonic() - began > SECONDS else end


def changed(data: bytes, chance: random.Random) -> bytes:
    """Bytes flipped, lost, doubled, swapped, cut off or put in."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 5, 20))):
        at, length = chance.randrange(len(out) + 1), chance.choice((1, 1, 2, 8, 100, 1000))
        match chance.randrange(7):
            case 0 if out:
                out[at % len(out)] = chance.randrange(256)
            case 1:
                out[at : at + length] = bytes(len(out[at : at + length]))
            case 2:
                del out[at : at + length]
            case 3:
                out[at:at] = out[at : at + length]
            case 4:
                del out[at:]
            case 5:
                out[at:at] = chance.randbytes(length)
            case 6:
                width = chance.choice((1, 2, 4, 8))
                out[at : at + width] = (chance.choice(VALUES) % 256**width).to_bytes(width, "little")
    return bytes(out)


def command(about: str, attacks: Mapping[str, Attack]) -> int:
    """The command line of a script with several attacks; returns its exit code."""
    options = argparse.ArgumentParser(description=about)
    options.add_argument("kind", choices=attacks)
    options.add_argument("--number", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    return attacks[chosen.kind].report(chosen.kind, chosen.number, chosen.seed)
