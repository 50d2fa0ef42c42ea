"""Files that appear complete or not at all: what is said, and what is left, when they do not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vp3d_deploy.formats.atomic import replacing

ROOT = Path(__file__).resolve().parents[3]
WRITER = """
import sys, time
from pathlib import Path
from vp3d_deploy.formats.atomic import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def begin_writing(target: Path) -> subprocess.Popen[str]:
    """Another program in the middle of writing the target."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    return writer


def kill(writer: subprocess.Popen[str]) -> None:
    writer.send_signal(signal.SIGKILL)
    writer.communicate()


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("name", ["walk.mp4", "walk", ("ä" * 120) + ".json"])
def test_what_a_killed_program_left_goes_with_the_next_write(tmp_path, name):
    target, other = tmp_path / name, tmp_path / ".walk.notours.part.txt"
    other.write_text("stays")
    kill(begin_writing(target))
    assert len(names(tmp_path)) == 2
    assert not target.exists()
    with replacing(tmp_path / "else.mp4") as temporary:
        temporary.write_text("x")
    assert len(names(tmp_path)) == 3
    with replacing(target) as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == sorted([name, other.name, "else.mp4"])
    assert target.read_text() == "whole"


def test_what_a_running_program_writes_is_left_alone(tmp_path):
    target = tmp_path / "walk.mp4"
    writer = begin_writing(target)
    try:
        (begun,) = names(tmp_path)
        assert begun.startswith(".walk.")
        assert begun.endswith(".part.mp4")
        with replacing(target) as temporary:
            temporary.write_text("ours")
        assert names(tmp_path) == sorted([begun, "walk.mp4"])
        assert (tmp_path / begun).read_text() == "half"
    finally:
        kill(writer)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_names_the_file_that_was_asked_for(tmp_path, number):
    target = tmp_path / "out.npz"
    with pytest.raises(OSError, match=os.strerror(number)) as caught, replacing(target):
        raise OSError(number, os.strerror(number))
    assert caught.value.filename == str(target)
    assert caught.value.errno == number
    with pytest.raises(PermissionError) as caught, replacing(target) as temporary:
        raise PermissionError(errno.EACCES, "Permission denied", str(temporary))
    assert caught.value.filename == str(target)
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "no" / "out.npz"):
        pass
    assert caught.value.filename == str(tmp_path / "no" / "out.npz")
    assert names(tmp_path) == []


def test_errors_about_other_files_stay_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "out.npz"):
        (tmp_path / "font.ttf").read_bytes()
    assert caught.value.filename == str(tmp_path / "font.ttf")
    with pytest.raises(OSError, match=r"out\.gif: encoder error"), replacing(tmp_path / "out.gif"):
        raise OSError("encoder error")
