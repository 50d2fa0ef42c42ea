"""The CUDA kernels run on the host: two files of kernels/tests, compiled and loaded.

The grid is simulated as in the C++ tests, from the headers that nvcc compiles for GPUs. Compiling
takes some seconds, and is done again when one of them changes.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ROOT / "kernels"
DIRECTORY = ROOT / "build" / "simulated"
SOURCES = [KERNELS / "tests" / f"simulated_{name}.cpp" for name in ("launch", "kernels")]


def compiler() -> str | None:
    """What compiles C++ here, or None."""
    return shutil.which(os.environ.get("CXX", "c++"))


@cache
def library() -> Any:
    """The compiled library; raises RuntimeError where it does not compile."""
    includes = [KERNELS / name for name in ("cuda", "cpu", "include", "tests")]
    digest = hashlib.sha256()
    for folder in includes:
        for path in sorted(folder.rglob("*.hpp")):
            digest.update(path.read_bytes())
    for path in SOURCES:
        digest.update(path.read_bytes())
    built = DIRECTORY / f"{digest.hexdigest()[:16]}.so"
    if not built.is_file():
        _compile(built, includes)
    loaded = ctypes.CDLL(str(built))
    loaded.vp3d_simulated_launch.restype = ctypes.c_char_p
    return loaded


def _compile(built: Path, includes: Iterable[Path]) -> None:
    command = compiler()
    if command is None:
        raise RuntimeError("no C++ compiler")
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for old in DIRECTORY.glob("*.so"):
        old.unlink()
    unfinished = built.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [command, "-std=c++17", "-O2", "-g", "-shared", "-fPIC", "-pthread",
         *(f"-I{folder}" for folder in includes), *map(str, SOURCES), "-o", str(unfinished)],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the simulated kernels do not compile: {done.stderr[-2000:]}")
    unfinished.rename(built)


def parameter_sizes(kernel: str) -> list[int] | None:
    """Bytes of each parameter; None where there is no such kernel."""
    sizes = (ctypes.c_int * 2)()
    count: int = library().vp3d_simulated_parameters(kernel.encode(), sizes)
    return None if count < 0 else sizes[:count]


def launch(
    kernel: str,
    blocks: int,
    threads: int,
    shared_bytes: int,
    parameters: Any,
    cooperative: bool,
    rooms: Mapping[int, int],
    seed: int,
) -> str | None:
    """Run one launch to its end; what is wrong with it, or None.

    parameters: the driver's array of addresses. rooms: memory that kernels may touch, bytes by
    address. seed: of the order of blocks and threads.
    """
    starts = (ctypes.c_uint64 * len(rooms))(*rooms)
    sizes = (ctypes.c_int64 * len(rooms))(*rooms.values())
    problem: bytes | None = library().vp3d_simulated_launch(
        kernel.encode(), blocks, threads, shared_bytes, parameters, int(cooperative), seed,
        starts, sizes, len(rooms),
    )  # fmt: skip
    return None if problem is None else problem.decode()
