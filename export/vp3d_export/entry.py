"""Where vp3d-export begins: says which extra to install where its libraries are missing."""

from __future__ import annotations

import sys

NEEDED = ("torch", "onnx", "rich")


def main() -> int:
    """`vp3d_export.cli.main`, or exit code 2 with one sentence without its libraries."""
    try:
        from vp3d_export.cli import main as export
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in NEEDED:
            raise
        print(
            f"vp3d-export: error: {error.name} is not installed; exporting needs the extra "
            'packages of pip install "vp3d-deploy[export]", running a bundle does not',
            file=sys.stderr,
        )
        return 2
    return export()
