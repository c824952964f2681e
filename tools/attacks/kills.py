"""Kills the real recipe at random moments, and worker orphans with old frames: nothing may differ in the end.

    uv run --package fusion-core python tools/attacks/kills.py --kills 60 --races 20

`kills`: `fusion-core run --recipe demo` on three synthetic videos is killed (SIGKILL) again and again, each time after
a random number of seconds, and begun again by the same command. A run that ends is compared with an undisturbed one,
byte by byte, and another one begins.

`races`: a recipe of one model and one propagator is killed while a worker has a video; in every other race the worker
is stopped first (SIGSTOP), so that it outlives its runner with the old frames in memory. Then the video's frames are
exchanged, the same command is given, and a stopped worker goes on two seconds later. The result is compared with an
undisturbed run on the new frames, and `plan` must find nothing to do.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

FUSION = [sys.executable, "-c", "from fusion_core.cli import main; main()"]
RACE = """
name = "race"
result = "soc_aot"
[model.soc]
program = "soc-infer"
options = { config = "demo" }
weights = "own"
[model.aot]
program = "aot-propagate"
options = { config = "demo" }
weights = "own"
[predict.soc]
model = "soc"
[propagate.soc_aot]
model = "aot"
source = "soc"
"""


class Place:
    """A folder with a data set and runs."""

    def __init__(self, folder: Path, recipe: str, videos: int):
        folder.mkdir(exist_ok=True)
        self.data, self.runs = folder / "data", folder / "runs"
        made = "from rvos_synthetic.cli import app; app()"
        arguments = ["--split", "test", "--videos", str(videos), "--out", str(self.data)]
        subprocess.run([sys.executable, "-c", made, *arguments], check=True, stdout=subprocess.DEVNULL)
        self.frames = self.data / "test" / "JPEGImages"
        self.where = ["--recipe", recipe, "--dataset", str(self.data), "--runs", str(self.runs)]

    def start(self) -> subprocess.Popen[str]:
        """The command, in a process of its own."""
        command = [*FUSION, "run", *self.where, "--device", "cpu", "--json"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def finish(self) -> None:
        """The command until it ends."""
        process = self.start()
        said, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"the command failed:\n{said[-3000:]}")

    def missing(self) -> int:
        """Videos that `plan` would make."""
        planned = subprocess.run([*FUSION, "plan", *self.where, "--json"], check=True, capture_output=True)
        return json.loads(planned.stdout)["missing"]

    def files(self) -> dict[str, bytes]:
        """What every run holds."""
        return {
            str(path.relative_to(self.runs)): path.read_bytes()
            for path in sorted(self.runs.rglob("*"))
            if path.is_file() and ".recipe" not in path.parts and path.name != ".lock"
        }


def differing_bytes(one: dict[str, bytes], other: dict[str, bytes]) -> int:
    """Bytes that differ, a missing file counts whole."""
    count = 0
    for name in one.keys() | other.keys():
        here, there = one.get(name, b""), other.get(name, b"")
        count += sum(a != b for a, b in zip(here, there, strict=False)) + abs(len(here) - len(there))
    return count


def kills(folder: Path, count: int, longest: float, dice: random.Random) -> int:
    """Returns how many bytes differ in all."""
    place = Place(folder, "demo", videos=3)
    began = time.monotonic()
    place.finish()
    undisturbed = place.files()
    print(f"kills: undisturbed {time.monotonic() - began:.0f} s, {len(undisturbed)} files", flush=True)
    shutil.rmtree(place.runs)
    done = finished = differing = 0
    while done < count:
        process = place.start()
        drain = threading.Thread(target=process.stdout.read)
        drain.start()
        try:
            process.wait(dice.uniform(0.5, longest))
        except subprocess.TimeoutExpired:
            process.kill()
            done += 1
            print(f"kills: {done} of {count}, {len(place.files())} files there", flush=True)
        process.wait()
        drain.join()
        if process.returncode == 0 or done == count:
            place.finish()
            finished += 1
            differing += differing_bytes(undisturbed, place.files())
            print(f"kills: run {finished} compared, {differing} differing bytes in all", flush=True)
            shutil.rmtree(place.runs)
    return differing


def races(folder: Path, count: int, dice: random.Random) -> int:
    """Returns how many bytes differ in all, and one for each video that `plan` would make again."""
    recipe = folder / "race.toml"
    place = Place(folder, str(recipe), videos=2)
    recipe.write_text(RACE)
    video, other = sorted(path.name for path in place.frames.iterdir())
    looks = [folder / "first", folder / "second"]
    for look, source in zip(looks, (video, other), strict=True):
        look.mkdir()
        names = sorted(frame.name for frame in (place.frames / video).iterdir())
        for name, pixels in zip(names, sorted((place.frames / source).iterdir()), strict=True):
            shutil.copy(pixels, look / name)
    undisturbed = []
    for look in looks:
        show(place, video, look)
        place.finish()
        undisturbed.append(place.files())
    assert differing_bytes(*undisturbed)
    shown, differing = 1, 0
    for race in range(count):
        shown = 1 - shown
        show(place, video, looks[shown])
        process = place.start()
        wanted = dice.choice(["soc", "soc_aot"])
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] in ("started", "progress") and event["job"] == wanted and event["video"] == video:
                break
        time.sleep(dice.uniform(0, 1.5))
        workers = psutil.Process(process.pid).children()
        stopped = workers if race % 2 else []
        for worker in stopped:
            worker.suspend()
        process.kill()
        process.stdout.close()
        process.wait()
        shown = 1 - shown
        show(place, video, looks[shown])
        waker = threading.Timer(2.0, wake, [stopped])
        waker.start()
        place.finish()
        waker.join()
        differing += differing_bytes(undisturbed[shown], place.files()) + place.missing()
        print(f"races: {race + 1} of {count}, {differing} differing bytes in all", flush=True)
    return differing


def show(place: Place, video: str, look: Path) -> None:
    """Put these frames in the place of a video's."""
    for frame in look.iterdir():
        shutil.copy(frame, place.frames / video / frame.name)


def wake(stopped: list[psutil.Process]) -> None:
    """Let stopped workers go on."""
    for worker in stopped:
        if worker.is_running():
            os.kill(worker.pid, signal.SIGCONT)


def main() -> None:
    """Count what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--longest", type=float, default=30.0, help="seconds before a kill")
    parser.add_argument("--races", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    differing = 0
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        if options.races:
            found = races(Path(folder) / "races", options.races, dice)
            print(f"races: tried {options.races}, differing bytes {found}", flush=True)
            differing += found
        if options.kills:
            found = kills(Path(folder) / "kills", options.kills, options.longest, dice)
            print(f"kills: tried {options.kills}, differing bytes {found}", flush=True)
            differing += found
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
