"""How `make gpu` sets itself up: with a network, from a folder, over a system's PyTorch."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from gpu_report_doubles import H200, fake_run

from vp3d_bench.gpu_report import environment, pycuda_source
from vp3d_bench.gpu_report.part import FAILED, PASSED


@pytest.fixture(autouse=True)
def toolkit(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CUDA toolkit with everything that pycuda may want."""
    root = tmp_path_factory.mktemp("cuda")
    for file in ("include/cuda.h", "include/curand.h", "lib64/libcudart.so",
                 "lib64/stubs/libcuda.so", "bin/nvcc"):  # fmt: skip
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    monkeypatch.setenv("CUDA_HOME", str(root))
    return root


def test_the_project_is_installed_for_the_gpus_at_hand(tmp_path: Path, toolkit: Path) -> None:
    thor = {**H200, "compute_capability": "11.0"}
    outputs = {"import json": '{"python": "3.12.1"}', "vp3d_bench.gpus": '[{"clock_mhz": 1980}]'}
    run, shell = fake_run(tmp_path, outputs=outputs, gpus=[H200, thor])
    found = environment.set_up(run)
    assert found.status == PASSED
    assert found.found == {"python": "3.12.1", "gpus": [{"clock_mhz": 1980}]}
    made, installed = shell.calls[:2]
    assert made == [sys.executable, "-m", "venv", str(tmp_path / "venv")]
    assert installed[installed.index("--editable") + 1] == ".[gpu-tests]"
    assert "--no-index" not in installed
    assert shell.environments[1]["CUDA_ROOT"] == str(toolkit)
    wanted = "-DCMAKE_CUDA_ARCHITECTURES=110a-real;90a-real;90-virtual"
    assert shell.environments[1]["CMAKE_ARGS"] == wanted


def test_a_gpu_without_code_of_its_own_runs_ptx() -> None:
    unknown = {**H200, "compute_capability": "10.3"}
    assert environment.architectures([unknown]) == "-DCMAKE_CUDA_ARCHITECTURES=90-virtual"


def test_without_a_network_everything_comes_from_the_folder(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    run, shell = fake_run(tmp_path, wheelhouse=wheels)
    environment.set_up(run)
    (installed,) = shell.called("--editable")
    assert "--no-index" in installed
    assert installed[installed.index("--find-links") + 1] == str(wheels)


def test_failures_say_what_failed(tmp_path: Path) -> None:
    run, _ = fake_run(tmp_path, {"venv": 1})
    found = environment.set_up(run)
    assert found.status == FAILED
    assert "package python3-venv" in found.reason
    run, _ = fake_run(tmp_path, {"--editable": 1})
    found = environment.set_up(run)
    assert found.status == FAILED
    assert "pip could not install the project: exit code 1: what went wrong" in found.reason


def test_a_systems_packages_are_seen_also_from_a_virtual_environments_python(
    tmp_path: Path,
) -> None:
    """PyTorch may lie in an environment of its own; a new one sees it and keeps its own first."""
    run, shell = fake_run(tmp_path, system_torch=True)

    def make(command: Sequence[str]) -> int:
        assert "--system-site-packages" in command
        (tmp_path / "venv/lib/python3.12/site-packages").mkdir(parents=True)
        return 0

    shell.answers["--system-site-packages"] = make
    environment.set_up(run)
    files = list(tmp_path.glob("venv/lib/python3.12/site-packages/*.pth"))
    if sys.prefix == sys.base_prefix:
        assert files == []
    else:
        (file,) = files
        assert Path(pytest.__file__).parents[1] in map(Path, file.read_text().splitlines())


def test_a_real_environment_imports_what_the_python_around_has(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    packages = [str(Path(pytest.__file__).parents[1])]
    program = [str(venv / "bin/python"), "-c", "import pytest"]
    assert subprocess.run(program, capture_output=True, check=False).returncode == 1
    environment.see_packages_of(venv, packages)
    assert subprocess.run(program, capture_output=True, check=False).returncode == 0


def archive(folder: Path) -> Path:
    """pycuda's source, as PyPI has it, without its contents."""
    path = folder / "pycuda-2026.1.tar.gz"
    inside = folder / "pycuda-2026.1"
    inside.mkdir()
    (inside / "configure.py").touch()
    with tarfile.open(path, "w:gz") as packed:
        packed.add(inside, "pycuda-2026.1")
    return path


def test_pycuda_that_is_there_is_left_alone(tmp_path: Path) -> None:
    run, shell = fake_run(tmp_path)
    assert environment.set_up_pycuda(run).reason == "it was there already"
    assert len(shell.calls) == 1


def test_pycuda_is_compiled_from_the_source_in_the_folder(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    archive(wheels)
    run, shell = fake_run(tmp_path, outputs={"import pycuda": None}, wheelhouse=wheels)
    assert environment.set_up_pycuda(run).status == PASSED
    (configured,) = shell.called("configure.py")
    assert "--no-cuda-enable-curand" not in configured
    assert not shell.called("download")
    assert list(tmp_path.glob("pycuda-*")) == []


def test_a_wheel_of_pycuda_in_the_folder_is_taken(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "pycuda-2026.1-cp312-cp312-linux_x86_64.whl").touch()
    run, shell = fake_run(tmp_path, outputs={"import pycuda": None}, wheelhouse=wheels)
    assert pycuda_source.install_pycuda(run, environment.pip(run)) is None
    assert shell.calls[-1][-1] == "pycuda"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"configure.py": 1}, "configuring pycuda: exit code 1"),
        ({"--no-index": 1}, "compiling pycuda: exit code 1"),
        (
            {"import pycuda": 1},
            "pycuda was compiled but does not load: exit code 1: what went wrong",
        ),
    ],
)
def test_what_pycuda_fails_at_is_said(answers: dict[str, int], reason: str, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    archive(wheels)
    run, _ = fake_run(tmp_path, answers, {"import pycuda": None}, wheelhouse=wheels)
    found = environment.set_up_pycuda(run)
    assert found.status == FAILED
    assert reason in found.reason
    assert "neither TensorRT nor the CUDA engine" in found.reason


def test_a_folder_without_pycuda_and_a_machine_without_a_toolkit_are_reasons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    run, _ = fake_run(tmp_path, outputs={"import pycuda": None}, wheelhouse=wheels)
    assert "holds no pycuda-*.tar.gz" in environment.set_up_pycuda(run).reason
    monkeypatch.setattr(environment, "cuda_root", lambda: None)
    assert "needs a CUDA toolkit" in environment.set_up_pycuda(run).reason


def test_what_a_toolkit_lacks_is_left_out_or_stood_in_for(
    tmp_path: Path, toolkit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, shell = fake_run(tmp_path)
    full = pycuda_source.configuration(toolkit, tmp_path, run)
    assert full == [
        f"--cuda-root={toolkit}", f"--cuda-inc-dir={toolkit}/include",
        f"--cudadrv-lib-dir={toolkit}/lib64/stubs", f"--cudart-lib-dir={toolkit}/lib64",
    ]  # fmt: skip
    for file in ("include/curand.h", "lib64/libcudart.so", "lib64/stubs/libcuda.so"):
        (toolkit / file).unlink()
    system = tmp_path / "system"
    system.mkdir()
    (system / "libcuda.so.1").touch()
    monkeypatch.setattr(pycuda_source, "_DRIVER_PLACES", (str(system),))
    place = tmp_path / "place"
    place.mkdir()
    poor = pycuda_source.configuration(toolkit, place, run)
    assert poor[2:] == [
        f"--cudadrv-lib-dir={place}", f"--cudart-lib-dir={place}", "--no-cuda-enable-curand",
    ]  # fmt: skip
    assert (place / "libcuda.so").resolve() == system / "libcuda.so.1"
    assert str(place / "libcudart.so") in shell.calls[-1]
