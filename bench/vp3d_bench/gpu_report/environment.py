"""The virtual environment that everything else runs in, and what is installed into it."""

from __future__ import annotations

import json
import os
import shutil
import site
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vp3d_bench.gpu_report.part import FAILED, PASSED, Outcome, Run
from vp3d_bench.gpu_report.pycuda_source import install_pycuda

# Jetson Linux brings TensorRT's Python bindings as packages of the system.
_JETSON = Path("/etc/nv_tegra_release")
# Code of its own that the kernels have for a compute capability; others run PTX.
_OWN_CODE = {
    "7.5": "75-real", "8.0": "80-real", "8.6": "86-real", "8.7": "87-real", "8.9": "89-real",
    "9.0": "90a-real", "10.0": "100a-real", "11.0": "110a-real", "12.0": "120-real",
}  # fmt: skip
_PTX = "90-virtual"
_PROGRAM = """\
import json, sys
from importlib import metadata
found = {(d.metadata["Name"] or "").lower(): d.version for d in metadata.distributions()}
known = {name: version for name, version in sorted(found.items()) if name.startswith(PREFIXES)}
print(json.dumps({"python": sys.version.split()[0], "packages": known}))
"""
# Packages that figures may depend on; what else a person has installed is nobody's business.
_PREFIXES = ("vp3d", "numpy", "onnx", "torch", "triton", "tensorrt", "pycuda", "nvidia", "cuda",
             "pytest", "safetensors")  # fmt: skip


def set_up(run: Run) -> Outcome:
    """The environment with this project and all that the other parts need but pycuda."""
    options = run.options
    system = options.system_torch or _JETSON.exists()
    if not Path(run.python).exists():
        flags = ["--system-site-packages"] if system else []
        made = run.shell.call([sys.executable, "-m", "venv", *flags, str(run.venv)], "setup")
        if not made.ok:
            return Outcome(FAILED, f"no virtual environment: {made.reason()}; Debian and Ubuntu "
                           "have it in the package python3-venv")  # fmt: skip
        if system:
            see_packages_of(run.venv, own_packages())
    install = [*pip(run), "--editable", ".[gpu-tests]"]
    env = {**cuda_environment(), "CMAKE_ARGS": architectures(run.gpus)}
    ended = run.shell.call(install, "setup", env=env)
    if not ended.ok:
        return Outcome(FAILED, f"pip could not install the project: {ended.reason()}")
    return Outcome(PASSED, found={**installed(run), "gpus": described(run)})


def set_up_pycuda(run: Run) -> Outcome:
    """pycuda, which is compiled against the CUDA toolkit at hand unless it is there already."""
    if run.can_import("pycuda.driver"):
        return Outcome(PASSED, "it was there already")
    problem = install_pycuda(run, pip(run))
    if problem is not None:
        return Outcome(FAILED, f"{problem}; without it neither TensorRT nor the CUDA engine runs")
    return Outcome(PASSED, found=installed(run))


def pip(run: Run) -> list[str]:
    """`pip install`, from the folder of wheels alone where there is one."""
    command = run.module("pip", "install", "--disable-pip-version-check", "--no-input")
    if run.options.wheelhouse is not None:
        command += ["--no-index", "--find-links", str(run.options.wheelhouse)]
    return command


def installed(run: Run) -> dict[str, Any]:
    """The environment's Python and the versions of its packages."""
    program = _PROGRAM.replace("PREFIXES", repr(_PREFIXES))
    said = run.shell.output([run.python, "-c", program])
    return {} if said is None else dict(json.loads(said))


def described(run: Run) -> list[dict[str, Any]]:
    """The GPUs, with all that NVML says of them, for which the environment has its bindings."""
    said = run.shell.output(run.module("vp3d_bench.gpus"))
    return list(json.loads(said)) if said else []


def own_packages() -> list[str]:
    """Where the Python that runs this has its packages, if that is itself a virtual environment:
    --system-site-packages means those of the Python beneath it."""
    return site.getsitepackages() if sys.prefix != sys.base_prefix else []


def see_packages_of(venv: Path, folders: Sequence[str]) -> None:
    """Make an environment see these folders' packages after its own."""
    if folders:
        (packages,) = venv.glob("lib/python*/site-packages")
        (packages / "of_the_python_around.pth").write_text("\n".join(folders) + "\n", "utf-8")


def cuda_root() -> Path | None:
    """The CUDA toolkit: of CUDA_HOME or CUDA_ROOT, of the nvcc on the PATH, or in its usual place;
    None where there is none."""
    nvcc = shutil.which("nvcc")
    named = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_ROOT", "CUDA_PATH")]
    found = [Path(name) for name in named if name]
    found.append(Path("/usr/local/cuda"))
    found += [Path(nvcc).resolve().parents[1]] if nvcc else []
    return next((path for path in found if (path / "include/cuda.h").is_file()), None)


def cuda_environment() -> dict[str, str]:
    """Variables by which compilers find the toolkit, which JetPack leaves off the PATH."""
    root = cuda_root()
    if root is None:
        return {}
    libraries = [root / "lib64", root / "lib64/stubs"]
    return {
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        "CUDA_ROOT": str(root),
        "CUDA_PATH": str(root),
        "CPATH": _joined(root / "include", os.environ.get("CPATH")),
        "LIBRARY_PATH": _joined(*libraries, os.environ.get("LIBRARY_PATH")),
    }


def _joined(*paths: Path | str | None) -> str:
    return os.pathsep.join(str(path) for path in paths if path)


def architectures(gpus: Sequence[Mapping[str, Any]]) -> str:
    """Kernels are compiled for the GPUs at hand alone, which takes a fraction of the time: what
    CMake is told, by the variable that scikit-build-core reads."""
    wanted = {_OWN_CODE[gpu["compute_capability"]] for gpu in gpus
              if gpu["compute_capability"] in _OWN_CODE}  # fmt: skip
    return f"-DCMAKE_CUDA_ARCHITECTURES={';'.join([*sorted(wanted), _PTX])}"
