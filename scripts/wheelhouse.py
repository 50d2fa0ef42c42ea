#!/usr/bin/env python3
"""Fill a folder with all that `make gpu WHEELHOUSE=DIR` installs, for a machine without a network.

    python3 scripts/wheelhouse.py wheels --python 3.12 --machine x86_64 --without torch

Run it where there is a network, then carry the folder and this checkout along. --without names
packages that the other machine has already, for example its own PyTorch for the GPU (`make gpu
SYSTEM_TORCH=1`): they and what only they need are not fetched.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXTRA = "gpu-tests"
# From newest to oldest: a wheel may be built for any that is not newer than the system.
GLIBC = ((2, 35), (2, 34), (2, 31), (2, 28), (2, 27), (2, 24), (2, 17))
MACHINES = ("x86_64", "aarch64")
# What compiles the native engine, beside build-system.requires: the machine may lack them.
COMPILING = ("cmake>=3.20", "ninja>=1.11")
PYCUDA = "pycuda"
# What pycuda imports; its source says so only to a build.
PYCUDA_NEEDS = ("pytools", "mako", "platformdirs")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        builds = build_requirements(fetch_pycuda(options.folder))
        wanted = requirements(ROOT / "pyproject.toml", builds, options.without)
        run(download_command(options, wanted))
        prune(options.folder, options.without, keep=builds)
    except (subprocess.CalledProcessError, OSError, ValueError) as error:
        print(f"wheelhouse: error: {error}", file=sys.stderr)
        return 1
    files = sorted(options.folder.iterdir())
    size = sum(file.stat().st_size for file in files) / 1e6
    print(f"{options.folder}: {len(files)} files, {size:.0f} MB; there: make gpu "
          f"WHEELHOUSE={options.folder}{' SYSTEM_TORCH=1' if options.without else ''}")  # fmt: skip
    return 0


def requirements(pyproject: Path, builds: Sequence[str], absent: Sequence[str]) -> list[str]:
    """What the project and pycuda need to be built, to run and to be tested on a GPU.

    builds: what building pycuda needs. A build sees nothing of what a machine has already: what
    builds need is wanted whatever is `absent`.
    """
    values = load_toml(pyproject.read_text("utf-8"))
    project = values["project"]
    runs = [*COMPILING, *project["dependencies"], *project["optional-dependencies"][EXTRA],
            *PYCUDA_NEEDS]  # fmt: skip
    return [*values["build-system"]["requires"], *builds, *without(runs, absent)]


def prune(folder: Path, absent: Sequence[str], keep: Sequence[str]) -> None:
    """Remove wheels of absent packages that came along because others need them."""
    gone = {normal_name(name) for name in absent} - {normal_name(name) for name in keep}
    for wheel in folder.glob("*.whl"):
        if normal_name(wheel.name.partition("-")[0]) in gone:
            wheel.unlink()


def without(wanted: Sequence[str], absent: Sequence[str]) -> list[str]:
    """Requirements of other packages than these."""
    names = {normal_name(name) for name in absent}
    return [one for one in wanted if normal_name(one) not in names]


def build_requirements(source: Path) -> list[str]:
    """What a source archive says that building it needs."""
    with tarfile.open(source) as packed:
        members = [m for m in packed.getmembers() if re.fullmatch(r"[^/]+/pyproject\.toml", m.name)]
        if not members:
            return ["setuptools", "wheel"]
        file = packed.extractfile(members[0])
        assert file is not None
        values = load_toml(file.read().decode("utf-8"))
    needed: list[str] = values["build-system"]["requires"]
    return needed


def download_command(options: argparse.Namespace, wanted: Sequence[str]) -> list[str]:
    """pip's, for the other machine: wheels alone, since nothing can be built for it here."""
    version = options.python.replace(".", "")
    command = [*_pip_download(options.folder), "--only-binary=:all:", "--implementation=cp",
               f"--python-version={options.python}"]  # fmt: skip
    for abi in (f"cp{version}", "abi3", "none"):
        command.append(f"--abi={abi}")
    for platform in platforms(options.machine, options.glibc):
        command.append(f"--platform={platform}")
    return [*command, *wanted]


def platforms(machine: str, glibc: str) -> list[str]:
    """pip's names of what a system with this C library runs."""
    newest = tuple(int(part) for part in glibc.split("."))
    names = [f"manylinux_{major}_{minor}_{machine}" for major, minor in GLIBC
             if (major, minor) <= newest]  # fmt: skip
    return [*names, f"manylinux2014_{machine}", f"linux_{machine}"]


def fetch_pycuda(folder: Path) -> Path:
    """pycuda's source, which is all that PyPI has of it."""
    run([*_pip_download(folder), "--no-deps", "--no-binary", PYCUDA, PYCUDA])
    return sorted(folder.glob(f"{PYCUDA}-*.tar.gz"))[-1]


def normal_name(requirement: str) -> str:
    """The package of a requirement, as PyPI compares names."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    if match is None:
        raise ValueError(f"{requirement!r} names no package")
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def load_toml(text: str) -> dict[str, Any]:
    try:
        import tomllib
    except ModuleNotFoundError:  # before Python 3.11 pip brings its own
        from pip._vendor import tomli as tomllib  # type: ignore[no-redef]
    return tomllib.loads(text)


def run(command: Sequence[str]) -> None:
    print("+", " ".join(command), flush=True)
    subprocess.run(command, check=True)


def _pip_download(folder: Path) -> list[str]:
    return [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--dest",
            str(folder)]  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR")
    add("--python", type=_version, default=f"{sys.version_info[0]}.{sys.version_info[1]}",
        metavar="3.N", help="of the other machine (default: this one's)")  # fmt: skip
    add("--machine", choices=MACHINES, default="x86_64", help="its processor (default: x86_64)")
    add("--glibc", type=_version, default="2.35", metavar="2.N", help="its C library, as ldd "
        "--version says (default: 2.35, of Ubuntu 22.04 and JetPack 6)")  # fmt: skip
    add("--without", nargs="+", default=[], metavar="PACKAGE", help="packages that it has already")
    return parser


def _version(text: str) -> str:
    if not re.fullmatch(r"\d+\.\d+", text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a version such as 3.12")
    return text


if __name__ == "__main__":
    raise SystemExit(main())
