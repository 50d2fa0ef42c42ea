"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not POSIX: nothing is locked, and what a killed program left stays
    fcntl = None  # type: ignore[assignment]

# Of a name of 255 bytes, the longest that file systems take, the rest is for what is added to it.
_NAME_CHARS = 40
_RANDOM_CHARS = 8  # how many tempfile adds


def check_folder(target: Path) -> None:
    """Raises OSError naming `target` if its folder does not exist or cannot be written."""
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: the folder {target.parent} does not exist")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{target}: the folder {target.parent} cannot be written to")
    if target.is_dir():
        raise IsADirectoryError(f"{target}: is a folder; expected the name of a file to write")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path`, which takes its place when the block ends well.

    The temporary name has the same suffix, for writers that go by it. After an exception the
    temporary file is gone and what was at `path` is as before. A link is followed, not replaced.
    A program that is killed leaves its temporary file behind; the next that writes the same
    target removes it.
    Raises OSError naming `path` if the folder does not exist or the file cannot be written.
    """
    target = path.resolve()
    temporary = None
    try:
        _remove_stale(target)
        handle, temporary = _locked_temporary(target)
        try:
            yield temporary
            # mkstemp makes files that only their owner may read; use what open() would have given.
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, target)
        finally:
            # The lock lasts as long as the handle.
            if handle is not None:
                os.close(handle)
    except BaseException as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and _is_about(error, temporary):
            raise _naming(error, path) from error
        raise


def _affixes(target: Path) -> tuple[str, str]:
    return f".{target.stem[:_NAME_CHARS]}.", f".part{target.suffix}"


def _locked_temporary(target: Path) -> tuple[int | None, Path]:
    """A new file beside the target, with a lock on it that ends when this program does."""
    prefix, suffix = _affixes(target)
    while True:
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=target.parent)
        if fcntl is None:
            # An open file cannot be replaced on Windows.
            os.close(handle)
            return None, Path(name)
        # Before it was locked, another program may have taken it for a stale one and removed it.
        if not _lock(handle) or os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)


def _remove_stale(target: Path) -> None:
    """Remove temporary files of this target that no running program has a lock on."""
    if fcntl is None:
        return
    prefix, suffix = _affixes(target)
    length = len(prefix) + _RANDOM_CHARS + len(suffix)
    for entry in list(os.scandir(target.parent)):
        name = entry.name
        if len(name) != length or not (name.startswith(prefix) and name.endswith(suffix)):
            continue
        with suppress(OSError):  # not ours, or gone: it is not what we are here for
            if not entry.is_file(follow_symlinks=False):
                continue
            handle = os.open(entry.path, os.O_RDWR)
            try:
                if _lock(handle):
                    os.unlink(entry.path)
            finally:
                os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file for this program alone; False if another has, or if it cannot be done."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_about(error: OSError, temporary: Path | None) -> bool:
    """Whether an error concerns the temporary file or its folder, and not something else."""
    return temporary is None or error.filename in (None, str(temporary), temporary)


def _naming(error: OSError, path: Path) -> OSError:
    """The same error with the name of the file that the user asked for."""
    if error.errno is None:
        return type(error)(f"{path}: {error}")
    return OSError(error.errno, error.strerror or os.strerror(error.errno), str(path))


def _umask() -> int:
    # The only portable way to read it is to set it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
