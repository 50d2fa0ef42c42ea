"""NVIDIA's TensorRT bindings on a machine without TensorRT: downloaded, and loaded over stubs.

    python -m tensorrt_contract.bindings fetch [DIRECTORY]    wheels from PyPI, by pinned hashes
    python -m tensorrt_contract.bindings fetch-large [DIRECTORY]      8.5 too, of 549 MB
    python -m tensorrt_contract.bindings write [DIRECTORY]    inventories/ anew from those wheels

`make test` fetches. The wheels hold the bindings alone (about 1 MB each): a shared object that
needs a handful of C entry points of libnvinfer, libnvinfer_plugin and libnvonnxparser, which are
compiled here as functions that return nothing. Nothing is installed. Of 8.5 there is only a wheel
with all of TensorRT, for CPython 3.10 at the newest; its bindings are taken out and told that this
is the Python they were built for, which is good enough to list their names.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = ROOT / "build" / "tensorrt"
INVENTORIES = Path(__file__).with_name("inventories")
# Why wheels are missing, for the tests that would have read them.
REASON = "why_not.txt"
PYTHON = (3, 11)
_LARGE_ARE_FOR = ("--python-version", "3.10", "--platform", "manylinux_2_17_x86_64")


@dataclass(frozen=True)
class Wheel:
    """A distribution on PyPI. Its hash is that of the wheel for CPython 3.11 on x86-64 Linux.

    large: of another form, as 8.5's: all of TensorRT, for CPython 3.10.
    """

    version: str
    package: str
    sha256: str
    large: bool = False

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    @property
    def inventory(self) -> Path:
        return INVENTORIES / f"tensorrt-{self.version}.json"


# 8.5: JetPack 5.1. 8.6.1: JetPack 6.0. 10.3.0: JetPack 6.1 and 6.2. 10.13: JetPack 7.0.
# 10.16: JetPack 7.2.
WHEELS = (
    Wheel(
        "8.5.3.1",
        "tensorrt",
        "00375391073e51c1d662cc116f5472a921f27d75bb617c0195b3479633c625f3",
        large=True,
    ),
    Wheel(
        "8.6.1",
        "tensorrt-bindings",
        "705cfab5c60f0bed7d939559d880165a761bd9ac0f4203004948a760eef99838",
    ),
    Wheel(
        "10.3.0",
        "tensorrt-cu12-bindings",
        "59ace22d7f2ca1e9dcde2cb0cb5916912cb3cd5a9d72dd7852be0160d9b3a0ee",
    ),
    Wheel(
        "10.13.3.9",
        "tensorrt-cu12-bindings",
        "33aa9d104c04b008871645a97bd8a1a02279cf498d251df5e767d9d5183e0646",
    ),
    Wheel(
        "10.16.1.11",
        "tensorrt-cu13-bindings",
        "f986d47980d042cc126506a9b84586e55ad13737a7a46826fe45457c04d66294",
    ),
    Wheel(
        "11.0.0.114",
        "tensorrt-cu13-bindings",
        "af42b7a12813d4615e1a3c7defea86d5223b902f6f209abe540d822d94eb2da7",
    ),
    Wheel(
        "11.4.0.106",
        "tensorrt-cu13-bindings",
        "d072ac2a095e2be749fefc847adfb25d5ebe70303401df62ede8fe67a59f27fc",
    ),
)


def fetch(directory: Path = DIRECTORY, *, large: bool = False) -> str | None:
    """Download what is missing; None, or one sentence that says why wheels cannot be had."""
    directory.mkdir(parents=True, exist_ok=True)
    reason = directory / REASON
    reason.unlink(missing_ok=True)
    problem = None
    if sys.version_info[:2] != PYTHON or os.uname().machine != "x86_64":
        problem = "the pinned wheels are for CPython 3.11 on x86-64 Linux, which this is not"
    for wheel in WHEELS if problem is None else ():
        if (directory / wheel.version).is_dir() or (wheel.large and not large):
            continue
        problem = _download(wheel, directory)
        if problem:
            break
    if problem:
        reason.write_text(problem + "\n", "utf-8")
    return problem


def _download(wheel: Wheel, directory: Path) -> str | None:
    with tempfile.TemporaryDirectory(dir=directory) as place:
        wanted = Path(place) / "wanted.txt"
        line = f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n"
        wanted.write_text(line, "utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes",
             "--disable-pip-version-check", "--retries", "1", "--timeout", "20",
             "--only-binary", ":all:", "--dest", place, "--requirement", str(wanted),
             *(_LARGE_ARE_FOR if wheel.large else ())],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        found = list(Path(place).glob("*.whl"))
        if done.returncode or not found:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            why = errors[-1] if errors else "pip download failed"
            return f"{wheel.package} {wheel.version} could not be downloaded: {why}"
        unpacked = Path(place) / "unpacked"
        with zipfile.ZipFile(found[0]) as archive:
            if wheel.large:
                _bindings_of(archive, unpacked)
            else:
                archive.extractall(unpacked)
        unpacked.rename(directory / wheel.version)
    return None


def _bindings_of(archive: zipfile.ZipFile, unpacked: Path) -> None:
    """Of a wheel with all of TensorRT, laid out as one of the bindings alone is."""
    package = unpacked / "tensorrt_bindings"
    package.mkdir(parents=True)
    (package / "__init__.py").write_bytes(archive.read("tensorrt/__init__.py"))
    binding = archive.read("tensorrt/tensorrt.so")
    built_for, this = b"\x003.10\x00", b"\x003.%d\x00" % PYTHON[1]
    if binding.count(built_for) != 1:
        raise RuntimeError("the bindings do not say once for which Python they were built")
    (package / "tensorrt.so").write_bytes(binding.replace(built_for, this))


def inventory_of_wheel(wheel: Wheel, directory: Path = DIRECTORY) -> dict[str, Any]:
    """Load one version's bindings in a process of its own and list what they offer."""
    unpacked = directory / wheel.version
    binding = next((unpacked / "tensorrt_bindings").glob("tensorrt*.so"))
    with tempfile.TemporaryDirectory() as stubs:
        _compile_stubs(binding, Path(stubs))
        return run_extract("tensorrt_bindings", [unpacked], Path(stubs))


def run_with_wheel(wheel: Wheel, program: str, directory: Path = DIRECTORY) -> str:
    """What a Python program prints for which `import tensorrt` is the real binding over stubs."""
    unpacked = directory / wheel.version
    binding = next((unpacked / "tensorrt_bindings").glob("tensorrt*.so"))
    start = (
        f"import sys; sys.path.insert(0, {str(unpacked)!r})\n"
        "import tensorrt_bindings; sys.modules['tensorrt'] = tensorrt_bindings\n"
    )
    with tempfile.TemporaryDirectory() as stubs:
        _compile_stubs(binding, Path(stubs))
        done = subprocess.run(
            [sys.executable, "-c", start + program],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LD_LIBRARY_PATH": stubs},
        )
    if done.returncode:
        raise RuntimeError(f"TensorRT {wheel.version}: {done.stderr[-2000:]}")
    return done.stdout


def why_not(wheel: Wheel, directory: Path = DIRECTORY) -> str | None:
    """Why this version's wheel is not at hand, or None if it is."""
    if (directory / wheel.version).is_dir():
        return None
    if wheel.large:
        return (
            "its wheel of 549 MB is fetched by `python -m tensorrt_contract.bindings fetch-large`"
        )
    reason = directory / REASON
    return reason.read_text("utf-8").strip() if reason.is_file() else "`make bindings` has not run"


def run_extract(
    module: str, directories: list[Path], libraries: Path, preload: Path | None = None
) -> dict[str, Any]:
    """extract.py's answer for `module`, with `libraries` where the loader looks first."""
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "tensorrt_contract.extract", module, *map(str, directories)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(libraries),
            "PYTHONPATH": tests,
            **({"LD_PRELOAD": str(preload)} if preload is not None else {}),
        },
    )
    if done.returncode:
        raise RuntimeError(f"{module} of {directories} does not load: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def _compile_stubs(binding: Path, into: Path) -> None:
    """The TensorRT libraries that a binding names, each with every entry point it lacks."""
    entries = undefined_symbols(binding, r"(createInfer|createNv|getBuilderPlugin|getPlugin|getNv|"
                                         r"initLibNv|_ZN\d+nv)\w*")  # fmt: skip
    compile_stub(entries, [into / name for name in needed_libraries(binding, "libnv")])


def undefined_symbols(binary: Path, pattern: str) -> list[str]:
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", str(binary)], capture_output=True, text=True, check=True
    ).stdout
    names = [line.split()[-1].split("@")[0] for line in listed.splitlines() if line.strip()]
    return sorted({name for name in names if re.fullmatch(pattern, name)})


def needed_libraries(binary: Path, prefix: str) -> list[str]:
    listed = subprocess.run(
        ["readelf", "-d", str(binary)], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(rf"NEEDED.*\[({prefix}[^\]]*)\]", listed)


def compile_stub(entries: list[str], libraries: list[Path]) -> None:
    """Shared libraries whose functions return 0."""
    source = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in entries)
    for library in libraries:
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)],
            input=source,
            text=True,
            check=True,
            capture_output=True,
        )


def write_inventory(found: dict[str, Any], path: Path) -> None:
    """One name a line, so that a change reads well in a diff."""
    lines = [f"{json.dumps(k)}: {json.dumps(v, sort_keys=True)}" for k, v in found["names"].items()]
    head = f'"module": {json.dumps(found["module"])}, "version": {json.dumps(found["version"])}'
    path.write_text(f'{{{head}, "names": {{\n' + ",\n".join(lines) + "\n}}\n", "utf-8")


def main(arguments: list[str]) -> int:
    command, *rest = arguments
    directory = Path(rest[0]) if rest else DIRECTORY
    problem = fetch(directory, large=command == "fetch-large")
    if problem:
        print(f"TensorRT's bindings are not at hand: {problem}")
    if command == "write":
        for wheel in WHEELS:
            if why_not(wheel, directory):
                print(f"left {wheel.inventory}: {why_not(wheel, directory)}")
                continue
            write_inventory(inventory_of_wheel(wheel, directory), wheel.inventory)
            print(f"wrote {wheel.inventory}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
