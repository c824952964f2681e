"""Files and folders are written whole or not at all, and nothing of a killed writer stays."""

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest
from mask_interchange.errors import RunError
from mask_interchange.files import (
    is_disk_full,
    new_folder,
    remove_abandoned,
    replace_whole,
    temporary_folder,
    write_whole,
)

WRITER = """
import sys, time
from pathlib import Path
from mask_interchange.files import new_folder, replace_whole

def write(path):
    path.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(100)

target = Path(sys.argv[2])
if sys.argv[1] == "file":
    replace_whole(target, write)
else:
    with new_folder(target) as folder:
        write(folder / "part")
"""


@pytest.fixture
def writer():
    """Starts a process that is in the middle of writing a file or a folder."""
    started = []

    def start(kind, target):
        process = subprocess.Popen([sys.executable, "-c", WRITER, kind, str(target)], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_killed_writer_leaves_nothing_behind_for_the_next(writer, tmp_path):
    writer("file", tmp_path / "a").send_signal(signal.SIGKILL)
    killed = writer("file", tmp_path / "a")
    killed.kill()
    killed.wait()
    assert any(name.startswith(".writing-") for name in names(tmp_path))
    write_whole(tmp_path / "b", b"whole")
    assert names(tmp_path) == ["b"]


def test_a_folder_of_a_killed_writer_is_empty_for_the_next(writer, tmp_path):
    killed = writer("folder", tmp_path / "new")
    killed.kill()
    killed.wait()
    with new_folder(tmp_path / "new") as folder:
        (folder / "whole").touch()
    assert names(tmp_path / "new") == ["whole"]


def test_nobody_removes_what_a_living_process_writes(writer, tmp_path):
    writer("file", tmp_path / "a")
    before = names(tmp_path)
    remove_abandoned(tmp_path)
    write_whole(tmp_path / "b", b"whole")
    assert names(tmp_path) == sorted([*before, "b"])
    writer("folder", tmp_path / "new")
    with pytest.raises(RunError, match="new or empty folder"), new_folder(tmp_path / "new"):
        pass


def test_many_writers_in_one_folder_do_not_disturb_each_other(tmp_path):
    """Each removes what is abandoned before it writes, also in the moment in which another begins."""
    failures = []

    def work(number):
        try:
            for turn in range(100):
                write_whole(tmp_path / f"{number}", str(turn).encode())
        except Exception as error:  # to be shown below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {str(i): b"99" for i in range(6)}


def test_folders_of_the_user_with_such_a_name_stay(tmp_path):
    (tmp_path / ".writing-my-thesis").mkdir()
    write_whole(tmp_path / "a", b"")
    assert names(tmp_path) == [".writing-my-thesis", "a"]


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_the_old_file_and_is_named(tmp_path):
    write_whole(tmp_path / "a", b"old")
    with pytest.raises(OSError, match=r"No space left on device: '.*/a'") as caught:
        replace_whole(tmp_path / "a", full)
    assert is_disk_full(caught.value)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_no_half_of_a_folder(tmp_path, there):
    target = tmp_path / "new"
    if there:
        target.mkdir()

    def write():
        with new_folder(target) as folder:
            (folder / "part").touch()
            full()

    with pytest.raises(OSError, match=r"No space left on device: '.*/new'"):
        write()
    assert target.exists() == there
    assert not there or names(target) == []


def test_a_new_folder_does_not_mix_with_an_old_one(tmp_path):
    (tmp_path / "mine").touch()
    for taken in (tmp_path, tmp_path / "mine"):
        with pytest.raises(RunError, match="new or empty folder"), new_folder(taken):
            pass
    assert names(tmp_path) == ["mine"]


def test_errors_about_other_files_keep_their_name(tmp_path):
    def write(path):
        (tmp_path / "source").read_bytes()

    with pytest.raises(FileNotFoundError, match="source"):
        replace_whole(tmp_path / "a", write)


def test_a_temporary_folder_goes_with_what_is_left_in_it(tmp_path):
    with temporary_folder(tmp_path) as folder:
        (folder / "a").touch()
    assert names(tmp_path) == []


def test_the_cause_of_an_error_may_be_a_full_disk():
    error = ValueError("cannot be written")
    assert not is_disk_full(error)
    error.__cause__ = OSError(errno.EDQUOT, "")
    assert is_disk_full(error)
    assert not is_disk_full(PermissionError(errno.EACCES, ""))
    error.__cause__ = error
    assert not is_disk_full(error)
