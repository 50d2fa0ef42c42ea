"""The folder of wheels for machines without a network: what is asked of pip. Fetches nothing."""

from __future__ import annotations

import importlib.util
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheelhouse() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wheelhouse", ROOT / "scripts/wheelhouse.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def source_of(folder: Path, pyproject: str | None) -> Path:
    """An archive such as PyPI's of pycuda."""
    path = folder / "pycuda-2026.1.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        if pyproject is not None:
            entry = tarfile.TarInfo("pycuda-2026.1/pyproject.toml")
            entry.size = len(pyproject)
            packed.addfile(entry, io.BytesIO(pyproject.encode()))
    return path


NEEDS_NUMPY = '[build-system]\nrequires = ["setuptools", "numpy>=1.24"]\n'


class Pip:
    """pip download: commands are kept; a source of pycuda and some wheels appear."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
        self.commands: list[list[str]] = []
        monkeypatch.setattr(module, "run", self)

    def __call__(self, command: Sequence[str]) -> None:
        self.commands.append(list(command))
        folder = Path(command[command.index("--dest") + 1])
        if "--no-binary" in command:
            source_of(folder, NEEDS_NUMPY)
            return
        for name in ("torch-2.11-cp312", "numpy-2.4-cp312", "ml_dtypes-0.6-cp312"):
            (folder / f"{name}-manylinux_2_28_x86_64.whl").touch()


def packages(wheelhouse: ModuleType, command: Sequence[str]) -> list[str]:
    """What pip is asked for: all that follows its options."""
    last = max(at for at, part in enumerate(command) if part.startswith("-"))
    return [wheelhouse.normal_name(part) for part in command[last + 1 :]]


def test_everything_is_asked_for_the_other_machine(
    wheelhouse: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = Pip(monkeypatch, wheelhouse)
    arguments = [str(tmp_path / "w"), "--python", "3.10", "--machine", "aarch64", "--glibc", "2.31"]
    assert wheelhouse.main(arguments) == 0
    _, command = pip.commands
    assert {"--python-version=3.10", "--abi=cp310", "--abi=abi3", "--only-binary=:all:"} <= {
        *command
    }
    platforms = [part for part in command if part.startswith("--platform=")]
    assert platforms[0] == "--platform=manylinux_2_31_aarch64"
    assert "--platform=manylinux_2_17_aarch64" in platforms
    assert not any("2_34" in platform for platform in platforms)
    names = set(packages(wheelhouse, command))
    assert {"numpy", "torch", "onnx", "onnxruntime", "pytest", "scikit-build-core", "nanobind",
            "cmake", "ninja", "setuptools", "pytools", "nvidia-ml-py"} <= names  # fmt: skip
    assert (tmp_path / "w/pycuda-2026.1.tar.gz").is_file()


def test_what_is_there_already_is_left_out_but_for_builds(
    wheelhouse: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pip = Pip(monkeypatch, wheelhouse)
    assert wheelhouse.main([str(tmp_path), "--without", "torch", "ml-dtypes", "numpy"]) == 0
    wanted = packages(wheelhouse, pip.commands[1])
    assert "torch" not in wanted
    # Building pycuda sees nothing of the machine's numpy.
    assert wanted.count("numpy") == 1
    left = {path.name.partition("-")[0] for path in tmp_path.glob("*.whl")}
    assert left == {"numpy"}
    assert "SYSTEM_TORCH=1" in capsys.readouterr().out


def test_a_source_that_says_nothing_needs_what_pip_takes_then(
    wheelhouse: ModuleType, tmp_path: Path
) -> None:
    assert wheelhouse.build_requirements(source_of(tmp_path, None)) == ["setuptools", "wheel"]


def test_pip_that_fails_is_one_sentence(
    wheelhouse: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(wheelhouse.sys, "executable", "/no/such/python")
    assert wheelhouse.main([str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("wheelhouse: error: ")


@pytest.mark.parametrize("arguments", [["--python", "3"], ["--machine", "riscv64"]])
def test_options_that_mean_nothing_are_refused(
    wheelhouse: ModuleType, tmp_path: Path, arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        wheelhouse.main([str(tmp_path), *arguments])
    assert ended.value.code == 2


def test_names_compare_as_pypi_compares_them(wheelhouse: ModuleType) -> None:
    assert wheelhouse.normal_name("Scikit_Build.Core>=0.10") == "scikit-build-core"
    with pytest.raises(ValueError, match="names no package"):
        wheelhouse.normal_name("")
