"""pycuda from its source: PyPI has no wheels of it, and its build wants to be told where CUDA is.

Where a toolkit lacks a part that pycuda would link with and does not need, that part is left out
(cuRAND) or stood in for by an empty library (libcudart), which the linker then drops again.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vp3d_bench.gpu_report.part import Run

# Where systems keep the driver's library; a toolkit's stub of it serves as well.
_DRIVER_PLACES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64",
                  "/usr/lib/aarch64-linux-gnu/tegra", "/usr/lib/aarch64-linux-gnu/nvidia",
                  "/usr/lib/wsl/lib", "/usr/lib")  # fmt: skip


def install_pycuda(run: Run, pip: Sequence[str]) -> str | None:
    """Install it into the run's environment; why that did not work, or None.

    pip: `pip install` with the options that say where packages come from.
    """
    wheelhouse = run.options.wheelhouse
    if wheelhouse is not None and list(wheelhouse.glob("pycuda-*.whl")):
        ended = run.shell.call([*pip, "pycuda"], "pycuda")
        return None if ended.ok else ended.reason()
    from vp3d_bench.gpu_report.environment import cuda_environment, cuda_root

    root = cuda_root()
    if root is None:
        return "compiling pycuda needs a CUDA toolkit, and none was found; set CUDA_HOME"
    with tempfile.TemporaryDirectory(dir=run.output, prefix="pycuda-") as folder:
        place = Path(folder)
        archive, problem = _source(run, place)
        if archive is None:
            return problem
        with tarfile.open(archive) as packed:
            packed.extractall(place, filter="data") if hasattr(tarfile, "data_filter") else (
                packed.extractall(place)
            )
        (source,) = place.glob("pycuda-*/")
        configured = run.shell.call(
            ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(source), run.python,
             "configure.py", *configuration(root, place, run)],
            "pycuda",
        )  # fmt: skip
        if not configured.ok:
            return f"configuring pycuda: {configured.reason()}"
        ended = run.shell.call([*pip, str(source)], "pycuda", env=cuda_environment(), show=False)
    if not ended.ok:
        return f"compiling pycuda: {ended.reason()}"
    loaded = run.shell.call([run.python, "-c", "import pycuda.driver"], "pycuda", show=False)
    return None if loaded.ok else f"pycuda was compiled but does not load: {loaded.reason()}"


def configuration(root: Path, place: Path, run: Run) -> list[str]:
    """Arguments of pycuda's configure.py; what the toolkit lacks is made in `place`."""
    headers = root / "include"
    driver, runtime = _driver_folder(root, place), _runtime_folder(root, place, run)
    options = [f"--cuda-root={root}", f"--cuda-inc-dir={headers}", f"--cudadrv-lib-dir={driver}",
               f"--cudart-lib-dir={runtime}"]  # fmt: skip
    if not (headers / "curand.h").is_file():
        options.append("--no-cuda-enable-curand")
    return options


def _source(run: Run, place: Path) -> tuple[Path | None, str]:
    """The archive of the source, from the folder of wheels or from PyPI; or None, and why."""
    wheelhouse = run.options.wheelhouse
    if wheelhouse is not None:
        found = sorted(wheelhouse.glob("pycuda-*.tar.gz"))
        return (found[-1], "") if found else (None, f"{wheelhouse} holds no pycuda-*.tar.gz")
    ended = run.shell.call(
        run.module("pip", "download", "--no-deps", "--no-binary", "pycuda", "--dest", str(place),
                   "pycuda"),
        "pycuda",
    )  # fmt: skip
    found = sorted(place.glob("pycuda-*.tar.gz"))
    return (found[0], "") if found else (None, f"fetching pycuda: {ended.reason()}")


def _driver_folder(root: Path, place: Path) -> Path:
    """Where a libcuda.so to link with is: a link to the driver's own if nothing else."""
    for folder in (root / "lib64/stubs", root / "lib/stubs", *map(Path, _DRIVER_PLACES)):
        if (folder / "libcuda.so").exists():
            return folder
    for folder in map(Path, _DRIVER_PLACES):
        if (folder / "libcuda.so.1").exists():
            link = place / "libcuda.so"
            link.symlink_to(folder / "libcuda.so.1")
            break
    return place


def _runtime_folder(root: Path, place: Path, run: Run) -> Path:
    """Where a libcudart.so to link with is: an empty one if nothing else, of which pycuda needs
    nothing."""
    for folder in (root / "lib64", root / "lib", *map(Path, _DRIVER_PLACES)):
        if (folder / "libcudart.so").exists():
            return folder
    compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
    run.shell.call(
        [compiler, "-shared", "-x", "c", "/dev/null", "-o", str(place / "libcudart.so")],
        "pycuda",
    )
    return place
