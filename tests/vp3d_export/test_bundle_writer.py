"""Whoever looks at the target sees the old bundle, the new one, or none: never half of one."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from bundles import random_bundle

from vp3d_deploy.bundle import MANIFEST
from vp3d_deploy.spec import ModelSpec
from vp3d_export import bundle_writer
from vp3d_export.bundle_writer import OutputError, check_target, partial_directory, publish


def write(target: Path, content: str) -> None:
    with partial_directory(target) as partial:
        (partial / MANIFEST).write_text(content)
        publish(partial, target)


def names(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir())


def test_new_then_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a.vp3d"
    write(target, "one")
    assert (target / MANIFEST).read_text() == "one"
    write(target, "two")
    assert (target / MANIFEST).read_text() == "two"
    assert names(tmp_path) == ["a.vp3d"]
    assert names(target) == [MANIFEST]


def test_replaced_where_directories_cannot_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_writer, "_exchange", lambda one, other: False)
    target = tmp_path / "a.vp3d"
    (tmp_path / "a.vp3d.old").mkdir()
    (tmp_path / "a.vp3d.old" / "mine").write_text("kept")
    write(target, "one")
    write(target, "two")
    assert (target / MANIFEST).read_text() == "two"
    assert names(tmp_path) == ["a.vp3d", "a.vp3d.old"]
    assert names(tmp_path / "a.vp3d.old") == ["mine"]


def test_an_error_leaves_the_old_bundle_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.vp3d"
    write(target, "one")
    with pytest.raises(RuntimeError), partial_directory(target) as partial:
        (partial / MANIFEST).write_text("half")
        raise RuntimeError
    assert (target / MANIFEST).read_text() == "one"
    assert names(tmp_path) == ["a.vp3d"]


def test_what_a_killed_export_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "a.vp3d"
    write(target, "one")
    script = textwrap.dedent(
        f"""
        import time
        from pathlib import Path
        from vp3d_export.bundle_writer import partial_directory
        with partial_directory(Path({str(target)!r})) as partial:
            (partial / "weights").write_bytes(b"x" * 100)
            print("ready", flush=True)
            time.sleep(60)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    # While it lives its directory is its own, also for others that write to the same target.
    write(target, "two")
    assert len(names(tmp_path)) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert (target / MANIFEST).read_text() == "two"
    assert len(names(tmp_path)) == 2
    write(target, "three")
    assert names(tmp_path) == ["a.vp3d"]
    assert (target / MANIFEST).read_text() == "three"


def test_a_bundle_is_as_readable_as_other_directories(tmp_path: Path) -> None:
    target = tmp_path / "a.vp3d"
    write(target, "one")
    other = tmp_path / "other"
    other.mkdir()
    assert target.stat().st_mode == other.stat().st_mode


def test_targets_that_are_something_else(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(OutputError, match="exists and is not a directory"):
        check_target(file)
    directory = tmp_path / "photos"
    directory.mkdir()
    check_target(directory)
    (directory / "one.jpg").write_text("mine")
    with pytest.raises(OutputError, match="exists and is not a bundle to replace"):
        check_target(directory)
    with pytest.raises(OutputError, match="is not a directory; create it first"):
        check_target(tmp_path / "none" / "a.vp3d")


def test_directories_that_only_look_like_bundles_are_left_alone(tmp_path: Path) -> None:
    """Many things have a manifest.json; what is replaced is removed."""
    site = tmp_path / "web"
    site.mkdir()
    (site / MANIFEST).write_text('{"name": "extension"}')
    (site / "precious.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists and is not a bundle to replace"):
        check_target(site)

    bundle = random_bundle(tmp_path / "net.vp3d", ModelSpec((3,), 4)).bundle
    check_target(bundle.path)
    (bundle.path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds notes\.txt beside the bundle's own files"):
        check_target(bundle.path)


def test_a_full_disk_is_named_by_the_target(tmp_path: Path) -> None:
    target = tmp_path / "a.vp3d"
    message = r"a\.vp3d cannot be written: No space left on device"
    with pytest.raises(OutputError, match=message), partial_directory(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names(tmp_path) == []
