"""Programs on long videos: peak memory of the whole command, by the number of frames.

    uv run --package cutie python tools/bench/program_memory.py cutie-propagate
    uv run --package grounded-sam2 python tools/bench/program_memory.py sam2-propagate
    uv run --package grounded-sam2 python tools/bench/program_memory.py grounded-sam2-infer -- --cache 0.02
    uv run --package soc python tools/bench/program_memory.py soc-infer -- --window 48 --short-side 96

A synthetic video file, and the program as a user calls it, with a tiny network and random weights: a mask on the middle
frame, or two sentences. What follows `--` goes to the program. Features of frames that both ways need fill a cache of
1 GiB in the end; a small one is full in the shortest video already.
"""

import argparse
import os
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path

import av
from long_videos import DrawnVideo
from PIL import Image

SENTENCES = ("a red square", "the square that goes round")


def write_video(path: Path, video: DrawnVideo) -> None:
    """A video file of the frames."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width = video.size
        stream.pix_fmt = "yuv420p"
        for frame in video.frames():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())


def peak(command: list[str]) -> tuple[int, float]:
    """Peak memory of a command in MiB, and its seconds."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(said)
    return used.ru_maxrss // 2**10, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--frames", default="300,3000")
    parser.add_argument("--size", default="96x128", help="height x width")
    parser.add_argument("--threads", type=int, default=2)
    options, more = parser.parse_known_args()
    height, width = map(int, options.size.split("x"))
    print(f"{'frames':>8s}{'peak MiB':>10s}{'ratio to first':>16s}{'seconds':>9s}")
    first = 0
    for frames in map(int, options.frames.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder, video = Path(name), DrawnVideo(frames, (height, width))
            write_video(folder / "clip.mp4", video)
            command = [str(Path(sysconfig.get_path("scripts")) / options.program), "--video", str(folder / "clip.mp4")]
            if options.program.endswith("-infer"):
                command += [argument for sentence in SENTENCES for argument in ("-e", sentence)]
            else:
                Image.fromarray(video.labels()).save(folder / "mask.png")
                command += ["--mask", str(folder / "mask.png"), "--frame", str(frames // 2)]
            command += ["--out", str(folder / "run"), "--config", "tiny", "--weights", "random:0", "--device", "cpu"]
            command += ["--threads", str(options.threads), *(argument for argument in more if argument != "--")]
            highest, seconds = peak(command)
        first = first or highest
        print(f"{frames:8d}{highest:10d}{highest / first:15.2f}x{seconds:9.0f}", flush=True)


if __name__ == "__main__":
    main()
