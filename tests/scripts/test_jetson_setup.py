"""scripts/jetson-setup.sh on boards that are folders: what it finds, prints and does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "jetson-setup.sh"
RELEASE = "# R{major} (release), REVISION: {minor}, GCID: 1, BOARD: generic, EABI: aarch64"


class Board:
    """A root with a release file, and a folder of programs that say what they are called for."""

    def __init__(self, folder: Path, release: str | None, installed: tuple[str, ...] = ()) -> None:
        self.root, self.programs, self.log = folder / "root", folder / "bin", folder / "log"
        for path in (self.root / "etc", self.root / "proc/device-tree", self.programs):
            path.mkdir(parents=True)
        if release is not None:
            (self.root / "etc/nv_tegra_release").write_text(f"{release}\n# KERNEL_VARIANT: oot\n")
        model = self.root / "proc/device-tree/model"
        model.write_bytes(b"NVIDIA Jetson Example Developer Kit\0")
        names = "|".join(installed) or "none"
        self.program(
            "dpkg-query",
            f'for last; do :; done; case "$last" in {names}) '
            'case "$2" in *Status*) echo "ii ";; *) echo 1.2.3;; esac;; *) exit 1;; esac',
        )
        self.program("nvpmodel", "printf 'NV Power Mode: 25W\\n1\\n'")
        for name in ("g++", "tegrastats", "jetson_clocks"):
            self.program(name, "exit 0")
        self.program("sudo", f'echo "sudo $*" >>{self.log}')
        for version in ("3.8", "3.10", "3.12"):
            # Makes a virtual environment whose python writes down what it is asked for.
            self.program(
                f"python{version}",
                f'if [ "$1" = --version ]; then echo "Python {version}.9"; exit; fi\n'
                f'echo "python{version} $*" >>{self.log}\n'
                'for last; do :; done; mkdir -p "$last/bin"\n'
                f'printf \'#!/bin/sh\\necho "venv $*" >>{self.log}\\n\' >"$last/bin/python"\n'
                'chmod +x "$last/bin/python"',
            )

    def program(self, name: str, body: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def with_cuda(self) -> Board:
        compiler = self.root / "usr/local/cuda/bin/nvcc"
        compiler.parent.mkdir(parents=True)
        compiler.write_text("#!/bin/sh\n")
        compiler.chmod(0o755)
        return self

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "JETSON_ROOT": str(self.root),
            "PATH": f"{self.programs}:/usr/bin:/bin",
        }
        return subprocess.run(
            ["/bin/bash", str(SCRIPT), *arguments],
            env=environment,
            cwd=self.root.parent,
            capture_output=True,
            text=True,
        )


@pytest.mark.parametrize(
    ("major", "minor", "jetpack", "cuda", "python"),
    [
        (36, "3.0", "6.0", "12-2", "3.10"),
        (36, "4.0", "6.1 or 6.2", "12-6", "3.10"),
        (36, "4.3", "6.1 or 6.2", "12-6", "3.10"),
        (38, "2.1", "7.0", "13-0", "3.12"),
        (38, "4.0", "7.1", "13-0", "3.12"),
        (39, "2.1", "7.2", "13-2", "3.12"),
    ],
)
def test_a_fresh_board(
    tmp_path: Path, major: int, minor: str, jetpack: str, cuda: str, python: str
) -> None:
    board = Board(tmp_path, RELEASE.format(major=major, minor=minor))
    done = board.run("--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"JetPack      {jetpack} (" in done.stdout
    assert "NVIDIA Jetson Example Developer Kit" in done.stdout
    assert "power mode   25W" in done.stdout
    packages = (
        f"python{python}-venv python{python}-dev cuda-toolkit-{cuda} python3-libnvinfer "
        "libnvinfer-bin"
    )
    assert f"+ sudo apt-get install --yes {packages}\n" in done.stdout
    assert f"+ python{python} -m venv --system-site-packages .venv\n" in done.stdout
    assert "+ .venv/bin/python -m pip install pycuda\n" in done.stdout
    assert not board.log.exists()
    assert not (tmp_path / ".venv").exists()


def test_steps_are_done(tmp_path: Path) -> None:
    board = Board(tmp_path, RELEASE.format(major=36, minor="4.3")).with_cuda()
    done = board.run("--venv", "my env", "--max-clocks")
    assert done.returncode == 0, done.stderr
    log = board.log.read_text().splitlines()
    assert log[0] == "sudo apt-get update"
    assert log[1].startswith("sudo apt-get install --yes python3.10-venv")
    assert "cuda-toolkit" not in log[1]
    assert log[2] == "python3.10 -m venv --system-site-packages my env"
    assert "venv -m pip install pycuda" in log
    assert f"venv -m pip install {SCRIPT.parents[1]} rich matplotlib" in log
    assert log[-1] == "sudo jetson_clocks"


def test_what_is_there_is_not_installed_again(tmp_path: Path) -> None:
    installed = ("python3.10-venv", "python3.10-dev", "python3-libnvinfer", "libnvinfer-bin")
    board = Board(tmp_path, RELEASE.format(major=36, minor="4.3"), installed).with_cuda()
    done = board.run("--dry-run")
    assert "apt-get" not in done.stdout
    assert "TensorRT     python3-libnvinfer 1.2.3" in done.stdout
    assert "0 missing" in done.stdout


@pytest.mark.parametrize(
    ("release", "reason"),
    [
        (None, "this is no Jetson with Jetson Linux"),
        ("something else", "which names no release"),
        (RELEASE.format(major=32, minor="7.1"), "Jetson Linux 32.7 is not one of JetPack 5.1"),
        (RELEASE.format(major=35, minor="4.1"), "for Python 3.8 alone"),
    ],
)
def test_boards_that_cannot_be_prepared(tmp_path: Path, release: str | None, reason: str) -> None:
    board = Board(tmp_path, release)
    done = board.run()
    assert done.returncode == 1
    assert reason in done.stderr.replace("\n", " ")
    assert not board.log.exists()


@pytest.mark.parametrize("arguments", [["--venv"], ["--venv", ""], ["--fast"]])
def test_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    done = Board(tmp_path, RELEASE.format(major=36, minor="4.3")).run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("jetson-setup: ")


def test_shellcheck() -> None:
    beside_python = Path(sys.executable).parent
    checker = shutil.which("shellcheck", path=f"{beside_python}:{os.environ.get('PATH', '')}")
    if checker is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([checker, str(SCRIPT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
