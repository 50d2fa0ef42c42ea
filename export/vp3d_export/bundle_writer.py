"""Write a bundle so that whoever looks sees the old one or the new one, never half of one.

Everything goes to a hidden directory beside the target, which takes the target's place in one
step when it is complete. The reader is vp3d_deploy/bundle.py.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vp3d_deploy.bundle import (
    FORMAT,
    MANIFEST,
    SCHEMA,
    Bundle,
    BundleError,
    GraphEntry,
    sha256_of_files,
)
from vp3d_deploy.skeleton import Skeleton
from vp3d_deploy.spec import ModelSpec

# Held while a directory is being filled; not part of the bundle.
LOCK = ".exporting"
_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100  # fcntl.h


class OutputError(ValueError):
    """The place where a bundle was to go is taken by something else, or cannot be written."""


def check_target(target: Path) -> None:
    """Refuse, before any work, a target that is something other than a bundle.

    A bundle is replaced whole, so it must be one, and must hold nothing that is not its own.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise OutputError(f"{target} exists and is not a directory; choose another --out")
    if target.is_dir() and any(target.iterdir()):
        try:
            bundle = Bundle.open(target, verify=False)
        except BundleError as error:
            raise OutputError(
                f"{target} exists and is not a bundle to replace ({error}); remove it or choose "
                "another --out"
            ) from None
        own = {MANIFEST, LOCK, *bundle.manifest["files"]}
        foreign = sorted(p.name for p in target.iterdir() if p.name not in own)
        if foreign:
            raise OutputError(
                f"{target} holds {', '.join(foreign[:5])} beside the bundle's own files, which "
                "replacing it would remove; move them away or choose another --out"
            )
    if not target.parent.is_dir():
        raise OutputError(f"{target.parent} is not a directory; create it first")
    if not os.access(target.parent, os.W_OK):
        raise OutputError(f"{target.parent} cannot be written to; choose another --out")


@contextmanager
def partial_directory(target: Path) -> Iterator[Path]:
    """A directory beside `target` to build in; it is removed unless `publish` moved it.

    What a killed export left behind is cleared first: its lock is gone with its process.
    """
    prefix = f".{target.name}.partial-"
    for stale in target.parent.glob(f"{prefix}*"):
        if not _is_locked(stale):
            shutil.rmtree(stale, ignore_errors=True)
    try:
        partial = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from None
    with (partial / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield partial
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _is_locked(directory: Path) -> bool:
    try:
        with (directory / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        # No lock file: either being created this moment or almost removed; a later export's job.
        try:
            return directory.is_dir() and not any(directory.iterdir())
        except OSError:
            return True
    return False


def write_manifest(
    directory: Path,
    networks: Mapping[str, ModelSpec],
    skeleton_in: Skeleton,
    skeleton_out: Skeleton,
    fps: float,
    graphs: list[GraphEntry],
    provenance: Mapping[str, Any],
) -> None:
    """Name every file of `directory` with size and SHA-256, and say what the network expects."""
    names = sorted(p.name for p in directory.iterdir() if p.name not in (MANIFEST, LOCK))
    digests = sha256_of_files(directory / name for name in names)
    manifest = {
        "format": FORMAT,
        "schema": SCHEMA,
        "networks": {name: spec.to_dict() for name, spec in networks.items()},
        "receptive_field": networks["pose"].receptive_field,
        "skeleton_in": _skeleton_values(skeleton_in),
        "skeleton_out": _skeleton_values(skeleton_out),
        "fps": fps,
        "input": "keypoints in pixels, less half the image size, divided by half the image width",
        "output": "joints in metres relative to the root joint, camera frame: x right, y down, "
        "z forward; trajectory: the root joint in that frame",
        "graphs": [{k: v for k, v in vars(g).items() if v is not None} for g in graphs],
        "files": {
            name: {"bytes": (directory / name).stat().st_size, "sha256": digest}
            for name, digest in zip(names, digests, strict=True)
        },
        "provenance": dict(provenance),
    }
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


def _skeleton_values(skeleton: Skeleton) -> dict[str, Any]:
    return {
        "name": skeleton.name,
        "joints": list(skeleton.joints),
        "parents": list(skeleton.parents),
        "left": list(skeleton.left),
        "right": list(skeleton.right),
        "extra_edges": [list(edge) for edge in skeleton.extra_edges],
    }


def publish(partial: Path, target: Path) -> None:
    """Put the finished directory in the target's place, in one step.

    Where the file system cannot exchange two directories, the old bundle is moved aside first; a
    kill between the two moves leaves it, whole, under a name that begins with `NAME.old-`.
    """
    # mkdtemp made it private; a bundle is as readable as any other new directory.
    umask = os.umask(0)
    os.umask(umask)
    partial.chmod(0o777 & ~umask)
    for path in (*partial.iterdir(), partial):
        _sync(path)
    if not target.exists():
        partial.rename(target)
    elif _exchange(partial, target):
        shutil.rmtree(partial, ignore_errors=True)
    else:
        # An empty directory of its own, which renaming may replace, so that no other is touched.
        old = Path(tempfile.mkdtemp(prefix=f"{target.name}.old-", dir=target.parent))
        target.rename(old)
        try:
            partial.rename(target)
        except OSError:
            old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    # Only now: without its lock, a partial directory looks left behind.
    (target / LOCK).unlink()
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two directories atomically; False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    paths = (os.fsencode(one), os.fsencode(other))
    return renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0
