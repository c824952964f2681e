"""The program as it is started and ended."""

import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from fusion_core.view.server import listening_at
from mask_interchange import MaskRun, encode_mask


def test_ctrl_c_ends_it_and_it_says_where_the_corrections_are(opened, world, runs):
    with opened("final") as corrected:
        corrected.begin()
        corrected.corrections(0).draw(0, 2, encode_mask(np.ones((90, 160), bool)), "0")
        corrected.changed()
    program = Path(sys.executable).with_name("fusion-core")
    command = [program, "view", "--runs", runs, "--dataset", world.dataset, "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    with urlopen(address, timeout=60) as page:  # it listens, and leads to the page
        assert b"fusion-core view" in page.read()
    process.send_signal(signal.SIGINT)
    said, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert said.splitlines()[-1] == f"{runs / 'corrected'}: the corrections, as a run"
    assert MaskRun.open(runs / "corrected").read("world00").tracks[0].mask(2).all()


def test_connections_send_at_once():
    with listening_at(0) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
