"""pycuda's driver API on a machine without a GPU: compiled from source, loaded over a stub.

    python -m tensorrt_contract.pycuda_build build    compile it (minutes; needs a CUDA toolkit)
    python -m tensorrt_contract.pycuda_build write    inventories/pycuda-VERSION.json anew

PyPI has pycuda's source alone, and compiling it takes too long for every run of the tests, which
compare the inventory with the compiled module only where `make pycuda-inventory` has left one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from tensorrt_contract.bindings import (
    DIRECTORY,
    INVENTORIES,
    compile_stub,
    run_extract,
    undefined_symbols,
    write_inventory,
)

VERSION = "2026.1"
SHA256 = "759516160628ba06f32ce7e563e3f5b9214691dc9528a03ea99ea1073f4e14ba"
UNPACKED = DIRECTORY / f"pycuda-{VERSION}"
INVENTORY = INVENTORIES / f"pycuda-{VERSION}.json"


def build() -> None:
    """Compile pycuda with a toolkit's headers into build/tensorrt; installs nothing."""
    cuda = Path(os.environ.get("CUDA_ROOT", "/usr/local/cuda"))
    if not (cuda / "include" / "cuda.h").is_file():
        sys.exit(f"{cuda} holds no CUDA toolkit; set CUDA_ROOT")
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DIRECTORY) as name:
        place = Path(name)
        wanted = place / "wanted.txt"
        wanted.write_text(f"pycuda=={VERSION} --hash=sha256:{SHA256}\n", "utf-8")
        pip = [sys.executable, "-m", "pip"]
        subprocess.run(
            [*pip, "download", "--no-deps", "--require-hashes", "--no-binary", "pycuda",
             "--dest", name, "--requirement", str(wanted)],
            check=True,
        )  # fmt: skip
        with tarfile.open(place / f"pycuda-{VERSION}.tar.gz") as archive:
            archive.extractall(place, filter="data")
        # The linker wants a libcuda to find; what it would hold is supplied when it is loaded.
        compile_stub([], [place / "libcuda.so", place / "libcudart.so"])
        source = place / f"pycuda-{VERSION}"
        subprocess.run(
            [sys.executable, "configure.py", f"--cuda-root={cuda}",
             f"--cuda-inc-dir={cuda}/include", f"--cudadrv-lib-dir={place}",
             f"--cudart-lib-dir={place}", "--no-cuda-enable-curand"],
            cwd=source,
            check=True,
        )  # fmt: skip
        subprocess.run([*pip, "wheel", "--no-deps", "-w", name, str(source)], check=True)
        shutil.rmtree(UNPACKED, ignore_errors=True)
        with zipfile.ZipFile(next(place.glob("pycuda*.whl"))) as archive:
            archive.extractall(UNPACKED)


def inventory_of_pycuda() -> dict[str, Any]:
    """Of the compiled module pycuda._driver, all of which pycuda.driver passes on."""
    binary = next((UNPACKED / "pycuda").glob("_driver*.so"))
    with tempfile.TemporaryDirectory() as stubs:
        stub = Path(stubs) / "libcuda.so.1"
        compile_stub(undefined_symbols(binary, r"cu[A-Z]\w*"), [stub])
        found = run_extract("pycuda._driver", [UNPACKED], Path(stubs), preload=stub)
    return {**found, "version": VERSION}


def main(arguments: list[str]) -> int:
    if arguments == ["build"]:
        build()
    elif arguments == ["write"]:
        write_inventory(inventory_of_pycuda(), INVENTORY)
        print(f"wrote {INVENTORY}: {len(json.loads(INVENTORY.read_text('utf-8'))['names'])} names")
    else:
        sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
